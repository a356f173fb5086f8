import type { VerificationAnswer } from '../api/schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { type Column, printable, table } from './format.ts';

type Row = { layer: string; epoch: string; node: string; result: string; damaged: string };

const columns: Column<Row>[] = [
  { title: 'LAYER', value: (row) => row.layer, right: true },
  { title: 'EPOCH', value: (row) => row.epoch, right: true },
  { title: 'NODE', value: (row) => row.node },
  { title: 'COPY', value: (row) => row.result },
  { title: 'DAMAGED', value: (row) => row.damaged },
];

/** More parts than these are counted and not printed. */
const printedParts = 4;

type Copy = VerificationAnswer['layers'][number]['copies'][number];

/** A verification as `volume verify` prints it. */
export async function verificationText(answer: VerificationAnswer): Promise<string> {
  const rows = answer.layers.flatMap((layer) =>
    layer.copies.map((copy) => ({
      layer: String(layer.number),
      epoch: String(layer.epoch),
      node: copy.node,
      result: resultText(copy),
      damaged: damagedText(copy),
    })),
  );
  const list = await table(rows, columns, 'No layers: nothing was written yet.');
  const findings = answer.findings.map(
    ({ what, why, action }) => `- ${what}\n    why: ${why}\n    ${action}\n`,
  );
  const lines = findings.join('').split('\n').map(printable).join('\n');
  return `${list}\n${printable(answer.summary)}\n${lines === '' ? '' : `\nFindings:\n${lines}`}`;
}

/**
 * What makes the exit status of a verification: damage, or that not everything could be compared.
 * @throws `damaged`, `unavailable`
 */
export function throwUnlessEqual(answer: VerificationAnswer): void {
  const { result, name, summary } = answer;
  const values = { volume: answer.id };
  if (result === 'damaged') {
    throw new HyperscaleError('damaged', `volume ${name} is damaged: ${summary}`, {
      hint: answer.findings[0]?.action ?? 'See the findings.',
      values,
    });
  }
  if (result === 'incomplete') {
    throw new HyperscaleError('unavailable', `volume ${name}: ${summary}`, {
      hint: answer.findings[0]?.action ?? 'See the findings.',
      values,
    });
  }
}

function resultText(copy: Copy): string {
  if (copy.result === 'open') return 'open: not compared';
  if (copy.result === 'node-down') return 'node down: not checked';
  if (copy.result === 'not-checked') return 'not checked';
  return copy.repaired ? 'equal, mended' : copy.result;
}

function damagedText({ damaged }: Copy): string {
  if (damaged.length === 0) return '-';
  const parts = damaged
    .slice(0, printedParts)
    .map(({ offset, length }) => `${offset}–${offset + length - 1}`);
  return `bytes ${parts.join(', ')}${damaged.length > printedParts ? ', …' : ''}`;
}
