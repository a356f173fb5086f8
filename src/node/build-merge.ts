import { flattenTargets } from '../cluster/flatten.ts';
import { HyperscaleError } from '../errors.ts';
import { layersBelow, type SeenLayer } from '../volume/lineage.ts';
import { recordMergeBuilt } from '../volume/merge.ts';
import { cleanReplicas, mergedEpoch, replicaOn } from '../volume/queries.ts';
import type { LayerId, Volume } from '../volume/types.ts';
import { layerKey } from './layer-key.ts';
import { checkOwnCopy } from './verify-copy.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Builds the layer that others are merged into on this node, and records it with its hash. */
export async function buildMerge(
  worker: VolumeWorker,
  into: LayerId,
  workerOf: (id: string) => VolumeWorker,
  signal: AbortSignal,
  progress: (done: number, total: number) => void,
): Promise<void> {
  const { context, id, volume } = worker;
  if (volume?.merge?.into !== into) return;
  const inputs = inputsOf(worker, volume);
  const top = inputs.at(-1);
  if (top === undefined) return;
  const key = { volume: id, layer: into, epoch: mergedEpoch(volume) };
  // What is wrong in an input would be right in the result, which gets a manifest of its own.
  for (const { home, layer } of inputs) {
    await checkOwnCopy(workerOf(home.id), layer, signal, 'a merge');
  }
  // A result that is there is complete and stays: that it is here may have been recorded by a swap
  // whose answer was lost, or may be yet.
  await context.engine.layers.merge(
    inputs.map(({ home, layer }) => layerKey(home.id, layer)),
    key,
    top.layer.sizeBytes,
    signal,
    { rewrite: volume.merge.rewrite === true, progress },
  );
  const made = await context.content.manifest(key, signal);
  const { node } = context.self;
  const targets =
    volume.merge.below === true
      ? flattenTargets(volume, node, context.nodes())
      : cleanReplicas(top.layer)
          .filter((r) => r.node !== node)
          .map((r) => ({ node: r.node, pool: r.pool }));
  const proof = { root: made.root, bytes: made.allocatedBytes };
  await worker.change((v) => recordMergeBuilt(v, into, proof, targets));
}

/** @throws `unavailable` when this node lacks a layer of another record, or does not know of it yet. */
function inputsOf({ context }: VolumeWorker, volume: Volume): SeenLayer[] {
  const { merge } = volume;
  if (merge?.below !== true) {
    const run = volume.chain.filter((l) => merge?.layers.includes(l.id) === true);
    return run.map((layer) => ({ home: volume, layer }));
  }
  const below = layersBelow(volume, (id) => context.store.volume(id)?.value);
  const missing = below?.find(
    ({ layer }) => replicaOn(layer, context.self.node)?.state !== 'clean',
  );
  if (below !== null && missing === undefined) return below;
  throw new HyperscaleError(
    'unavailable',
    `not all that volume ${volume.name} was cloned from is on ${context.self.node}`,
    { hint: 'Nothing to do: it is copied here first.' },
  );
}
