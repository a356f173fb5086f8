/** What runs, and what nodes promised to refuse, against the records. Pure. */
import { listed } from '../volume/health-text.ts';
import { attachmentOn, unsealedLayer } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import { finding, holdingOf, nameOf } from './fsck-look.ts';
import type { FsckFinding, Inspection, Scene } from './fsck-types.ts';

export function processFindings(scene: Scene): FsckFinding[] {
  return [
    ...scene.volumes.flatMap((volume) => [
      ...twoHeads(scene, volume),
      ...headMissing(scene, volume),
      ...burntNext(scene, volume),
    ]),
    ...scene.inspections.flatMap((inspection) => [
      ...wrongHeads(scene, inspection),
      ...wrongExports(scene, inspection),
      ...wrongRelays(scene, inspection),
      ...highFences(scene, inspection),
    ]),
  ];
}

const byItself = (node: string) =>
  `hyperscaled on ${node} ends it by itself. If it stays: systemctl restart hyperscaled there, and look at its log.`;

function twoHeads(scene: Scene, volume: Volume): FsckFinding[] {
  const running = scene.inspections.filter((i) => i.heads.some((h) => h.volume === volume.id));
  if (running.length < 2) return [];
  const nodes = listed(running.map((i) => i.node));
  return [
    finding(
      'error',
      'two-heads',
      { volume: volume.id, subject: nodes },
      {
        what: `Volume ${volume.name} has heads on ${nodes}.`,
        why: 'Only one can be acknowledged writes; a consumer of another one may read old data.',
        action:
          'The one that the record does not name is ended by its daemon; see the next finding.',
      },
    ),
  ];
}

/** A head of an older epoch, of another node than the writer, or of a volume that is not open. */
function wrongHeads(scene: Scene, { node, heads }: Inspection): FsckFinding[] {
  return heads.flatMap((head) => {
    const volume = scene.volumes.find((v) => v.id === head.volume);
    const tail = volume?.tail;
    const layer =
      tail?.phase === 'open' ? tail.layer : tail?.phase === 'opening' ? tail.closing : null;
    if (layer?.id === head.layer && layer.writer === node) return [];
    const why =
      volume === undefined
        ? 'There is no record of its volume.'
        : layer === null
          ? `By the record the volume is ${volume.tail.phase}.`
          : `By the record epoch ${layer.epoch} is written on ${layer.writer}.`;
    return finding(
      'error',
      'head-not-allowed',
      { volume: head.volume, node, subject: head.layer },
      {
        what: `${node} runs a head of epoch ${head.epoch} of ${nameOf(scene, head.volume)}.`,
        why,
        action: byItself(node),
      },
    );
  });
}

function headMissing({ inspections }: Scene, volume: Volume): FsckFinding[] {
  const { tail } = volume;
  if (tail.phase !== 'open') return [];
  const { layer } = tail;
  const [writer] = layer.members;
  const inspection = inspections.find((i) => i.node === layer.writer && i.boot === writer?.boot);
  if (inspection === undefined || inspection.heads.some((h) => h.volume === volume.id)) return [];
  return [
    finding(
      'warning',
      'head-missing',
      { volume: volume.id, node: layer.writer, subject: layer.id },
      {
        what: `Volume ${volume.name} is open on ${layer.writer}, but no head runs there.`,
        why: 'It died or could not be started; its consumers wait.',
        action: `It is started by itself. If it is not, hscli volume show ${volume.name} and the log of ${layer.writer} say why.`,
      },
    ),
  ];
}

/** A layer is opened once; one that was opened before it was confirmed can never be. */
function burntNext({ inspections }: Scene, volume: Volume): FsckFinding[] {
  const { tail } = volume;
  if (tail.phase !== 'opening') return [];
  const { next } = tail;
  const writer = inspections.find((i) => i.node === next.writer);
  if (writer?.burnt.includes(next.id) !== true) return [];
  return [
    finding(
      'error',
      'burnt-before-open',
      { volume: volume.id, node: next.writer, subject: next.id },
      {
        what: `The layer of epoch ${next.epoch} of ${volume.name} was opened on ${next.writer} before it was recorded as open.`,
        why: 'A head starts only after the record says so; and a layer is opened only once.',
        action:
          'Nothing was acknowledged. Report it with the log; a restart of hyperscaled there begins another epoch.',
      },
    ),
  ];
}

function wrongExports(scene: Scene, { node, pool, exports }: Inspection): FsckFinding[] {
  return exports.flatMap(({ volume: id, layer, epoch, writable }) => {
    const volume = scene.volumes.find((v) => v.id === id);
    const holding = volume === undefined ? null : holdingOf(volume, layer, pool);
    if (writable ? holding === 'written' : holding !== null) return [];
    const kind = writable ? 'for writing' : 'for reading';
    return finding(
      'warning',
      'export-not-allowed',
      { volume: id, node, subject: layer },
      {
        what: `${node} exports the layer of epoch ${epoch} of ${nameOf(scene, id)} ${kind}.`,
        why: writable
          ? 'By the record nothing writes to it any more; nobody can be acknowledged a write with it alone.'
          : 'By the record there is no such copy.',
        action: byItself(node),
      },
    );
  });
}

/** Proxies, block devices and gateways of sessions that ended, and proxies to where the head is not. */
function wrongRelays(scene: Scene, inspection: Inspection): FsckFinding[] {
  const { node, proxies, gateways, devices = [] } = inspection;
  const open = (id: string) => scene.volumes.find((v) => v.id === id);
  const stale = [
    ...proxies.flatMap(({ volume: id, session, headNode }) => {
      const volume = open(id);
      const mine = volume && attachmentOn(volume, node);
      const moved = volume?.tail.phase === 'open' && volume.tail.layer.writer !== headNode;
      return mine?.session === session && !moved ? [] : [{ id, session, what: 'proxy' }];
    }),
    ...devices.flatMap(({ volume: id, session }) => {
      const volume = open(id);
      const mine = volume && attachmentOn(volume, node);
      return mine?.session === session ? [] : [{ id, session, what: 'device' }];
    }),
    ...gateways.flatMap(({ volume: id, session }) => {
      const known = open(id)?.attachments.some((a) => a.session === session) === true;
      return known ? [] : [{ id, session, what: 'gateway' }];
    }),
  ];
  return stale.map(({ id, session, what }) =>
    finding(
      'warning',
      `${what}-stale`,
      { volume: id, node, subject: session },
      {
        what: `${node} runs a ${what === 'device' ? 'block device' : what} for ${nameOf(scene, id)} that belongs to no attachment.`,
        why: 'The attachment ended or its head moved; the session finds no export any more.',
        action: byItself(node),
      },
    ),
  );
}

/**
 * A mend fences one epoch above the newest layer, so that much is in order. More means that the
 * record is older than the disk.
 */
function highFences(scene: Scene, { node, fences }: Inspection): FsckFinding[] {
  return fences.flatMap(({ volume: id, epoch }) => {
    const volume = scene.volumes.find((v) => v.id === id);
    if (volume === undefined) {
      return finding(
        'note',
        'fence-left-over',
        { volume: id, node },
        {
          what: `${node} still refuses epochs of a volume that is gone (${id}).`,
          why: 'It was down when the volume was removed.',
          action: 'Nothing to do.',
        },
      );
    }
    if (epoch <= volume.epoch + 1) return [];
    const unsealed = unsealedLayer(volume);
    return finding(
      'error',
      'fence-above-record',
      { volume: id, node, subject: String(epoch) },
      {
        what: `${node} refuses epochs of ${volume.name} below ${epoch}, and the record has only come to ${volume.epoch}.`,
        why: 'The record is older than the disk: the metadata store was set back.',
        action:
          unsealed === null
            ? 'Do not attach the volume. See docs/operations.md on a lost etcd.'
            : `Stop the guest on ${unsealed.writer}. See docs/operations.md on a lost etcd.`,
      },
    );
  });
}
