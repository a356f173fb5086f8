import { recordDamage, totalBytes } from '../volume/damage.ts';
import { abandonMerge } from '../volume/merge.ts';
import { replicaOn, sealedLayer } from '../volume/queries.ts';
import type { ByteRange, NodeName } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

export type FoundDamage = {
  layer: string;
  /** Whose copy it is. */
  node: NodeName;
  ranges: ByteRange[];
  /** What found it, for people: `a scrub`. */
  by: string;
};

/**
 * Records that a copy is damaged and tells of it. From now on it is not read any more and mended,
 * unless it is the last clean one alive: then it is kept, and the volume's report says so.
 */
export async function damageFound(worker: VolumeWorker, found: FoundDamage): Promise<void> {
  const { context, volume } = worker;
  const { environment, events, log } = context;
  const { layer: id, node, ranges, by } = found;
  const values = { layer: id, node, ranges: ranges.slice(0, 16), bytes: totalBytes(ranges) };
  const alive = (name: NodeName) =>
    context.nodes().some((n) => n.name === name && n.lease !== null);
  log.error({ volume: worker.id, ...values }, 'a copy is damaged');
  if (volume?.merge?.into === id) {
    await worker.change((v) => (v.merge?.into === id ? abandonMerge(v, id) : v));
    const text = `What ${node} had merged of ${volume.name} is damaged, found by ${by}; the merge is given up.`;
    events.emit('layer.damaged', text, { volume: worker.id, values });
    return;
  }
  const replica = volume && replicaOn(sealedLayer(volume, id) ?? { replicas: [] }, node);
  if (replica === undefined) return;
  const at = environment.now();
  const changed = await worker.change((v) => recordDamage(v, id, replica, { ranges, at }, alive));
  const layer = sealedLayer(changed, id);
  const state = layer && replicaOn(layer, node)?.state;
  const what =
    state === 'clean'
      ? 'it is the last clean one, so it is kept and read as it is'
      : 'it is not used any more until it is mended';
  events.emit(
    'layer.damaged',
    `The copy of layer ${layer?.epoch ?? id} of ${changed.name} on ${node} is damaged: ${values.bytes} bytes are not what was sealed, found by ${by}; ${what}.`,
    { volume: worker.id, values },
  );
}
