/** A verification in plain words. Pure. */
import { lostRanges, totalBytes } from '../volume/damage.ts';
import { listed } from '../volume/health-text.ts';
import type { ByteRange, SealedLayer, Volume } from '../volume/types.ts';
import { isDamaged, type Verification, type VerifiedCopy, type VerifiedLayer } from './verify.ts';

/** More parts than these are counted and not quoted. */
const quotedParts = 4;

/** @param volume the record after the verification. */
export function verification(volume: Volume, layers: VerifiedLayer[]): Verification {
  const copies = layers.flatMap((layer) => layer.copies);
  const sealed = copies.filter((c) => c.result !== 'open').length;
  const damaged = copies.filter(isDamaged).length;
  const unknown = copies.filter((c) => c.result === 'node-down' || c.result === 'not-checked');
  const repaired = copies.filter((c) => c.repaired).length;
  const result = damaged > 0 ? 'damaged' : unknown.length > 0 ? 'incomplete' : 'equal';
  const findings = [
    ...layers.flatMap((layer) => damageFindings(volume, layer)),
    ...layers.flatMap((layer) => lostFindings(volume, layer)),
    ...uncheckedFindings(volume, layers),
  ];
  const open = layers.some((layer) => layer.state === 'open');
  const what = {
    damaged: `Damaged copies: ${damaged} of ${sealed}.`,
    incomplete: `No damage was found, but ${unknown.length} copies were not compared.`,
    equal: 'Every copy of every sealed layer is what was sealed.',
  }[result];
  const mended =
    repaired === 0 ? '' : ` ${repaired === 1 ? '1 copy was' : `${repaired} copies were`} mended.`;
  const summary = `${what}${mended}${open ? ' The open layer was not compared.' : ''}`;
  return { id: volume.id, name: volume.name, result, summary, layers, findings };
}

function damageFindings(volume: Volume, layer: VerifiedLayer): Verification['findings'] {
  return layer.copies.filter(isDamaged).map((copy) => ({
    what: `The copy of layer ${layer.number} on ${copy.node} ${damageText(copy)}.`,
    why: copy.why === null ? causes : `${sentence(copy.why)} ${causes}`,
    action: actionFor(volume, layer, copy),
  }));
}

const causes =
  'The file changed after it was proven: a failing disk or controller, or somebody wrote to it.';

function damageText(copy: VerifiedCopy): string {
  if (copy.result === 'missing') return 'is missing';
  const verb = copy.result === 'unreadable' ? 'cannot be read' : 'is not what was sealed';
  return `${verb}: ${rangesText(copy.damaged)}`;
}

function actionFor(volume: Volume, layer: VerifiedLayer, copy: VerifiedCopy): string {
  const equal = layer.copies.filter((c) => c.result === 'equal').map((c) => c.node);
  const record = volume.chain.find((l) => l.id === layer.id);
  const known = record?.replicas.find((r) => r.node === copy.node)?.damage !== undefined;
  if (equal.length > 0 && !known) {
    return `Mend it from ${listed(equal)}: hscli volume verify ${volume.name} --repair`;
  }
  if (equal.length > 0) return 'Nothing to do: it is mended in the background.';
  const down = layer.copies.filter((c) => c.result === 'node-down').map((c) => c.node);
  if (down.length > 0) return `Bring ${listed(down)} back: a copy there may be good.`;
  return known
    ? 'What other copies have right is taken from them; the rest is listed as lost.'
    : `Take what is right from other copies: hscli volume verify ${volume.name} --repair`;
}

function lostFindings(volume: Volume, layer: VerifiedLayer): Verification['findings'] {
  const record: SealedLayer | undefined = volume.chain.find((l) => l.id === layer.id);
  const lost = record === undefined ? [] : lostRanges(record);
  if (lost.length === 0) return [];
  return [
    {
      what: `Of layer ${layer.number} no node has ${rangesText(lost)} as it was sealed.`,
      why: 'All copies that are known are damaged there. Nothing was deleted, and the rest is read as ever.',
      action:
        'Restore the guest’s files from a backup, into this volume or a new one: what is written anew is good.',
    },
  ];
}

function uncheckedFindings(volume: Volume, layers: VerifiedLayer[]): Verification['findings'] {
  const of = (result: VerifiedCopy['result']) =>
    layers.flatMap((layer) =>
      layer.copies
        .filter((c) => c.result === result)
        .map(({ node, why }) => ({ node, why, number: layer.number })),
    );
  const down = of('node-down');
  const nodes = [...new Set(down.map((c) => c.node))];
  const again = `hscli volume verify ${volume.name}`;
  return [
    ...nodes.map((node) => {
      const mine = down.filter((c) => c.node === node);
      return {
        what: `${node} was not asked: its copies of ${layersText(mine.map((c) => c.number))} were not checked.`,
        why: sentence(mine[0]?.why ?? 'it is down'),
        action: `Bring ${node} back, then: ${again}`,
      };
    }),
    ...of('not-checked').map(({ node, why, number }) => ({
      what: `The copy of layer ${number} on ${node} was not compared.`,
      why: sentence(why ?? 'it is not known why'),
      action: `Later: ${again}`,
    })),
  ];
}

function layersText(numbers: number[]): string {
  return `${numbers.length === 1 ? 'layer' : 'layers'} ${listed(numbers.map(String))}`;
}

/** `1048576 bytes in 1 part of its file (from 3145728)`. */
function rangesText(ranges: readonly ByteRange[]): string {
  const quoted = ranges
    .slice(0, quotedParts)
    .map(({ offset, length }) => `${offset}–${offset + length - 1}`);
  const more = ranges.length > quotedParts ? ', …' : '';
  return `${totalBytes(ranges)} bytes (of its file: ${quoted.join(', ')}${more})`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
