import type { CallOptions, TargetCalls, WriteResult } from '../backup/calls.ts';
import { layersOf } from '../cluster/backup-plan.ts';
import type { LayerSource } from '../engine/engine.ts';
import { type BlockNode, nbdNode } from '../engine/graphs.ts';
import { HyperscaleError } from '../errors.ts';
import { soundReplicas } from '../volume/damage.ts';
import { baseOf } from '../volume/episodes.ts';
import { episodesOf, placeOf } from '../volume/marks.ts';
import { sealedLayer } from '../volume/queries.ts';
import type { Episode, EpisodeId, LayerId, SealedLayer, Volume } from '../volume/types.ts';
import { layerKey } from './layer-key.ts';
import { findSources } from './layer-sources.ts';
import { paced } from './scrub-pace.ts';
import { damagedParts } from './verify-copy.ts';
import { damageFound } from './verify-damage.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Layers that are remembered to be what was sealed. */
const maxChecked = 100_000;

export type ShipOptions = CallOptions & {
  /** Layers whose copies here are known to be what was sealed; those that are found so are added. */
  checked: Set<LayerId>;
  /** A place for a socket. */
  socket: string;
  /** 0: as fast as it goes. */
  bytesPerSecond: number;
};

/**
 * Writes an episode to its target, from the copies of its layers that are here, and from peers where
 * there are none. It may be broken off at any time: the next call, on any node, goes on.
 * @throws `not-found` when the episode is not in the record any more
 */
export async function shipEpisode(
  worker: VolumeWorker,
  targets: TargetCalls,
  id: EpisodeId,
  { bytesPerSecond, checked, socket, ...options }: ShipOptions,
): Promise<WriteResult> {
  const { signal = new AbortController().signal } = options;
  for (const layer of pointOf(worker, id).changed) {
    await checkCopy(worker, layer, { bytesPerSecond, checked }, signal);
  }
  // That may have taken hours, in which layers were merged.
  const { base, changed, episode, volume } = pointOf(worker, id);
  const { backup } = base ?? {};
  return await targets.call(
    episode.target,
    'write',
    {
      ...{ volume: volume.id, volumeName: volume.name, name: episode.name },
      ...{ at: Date.parse(episode.at), sizeBytes: episode.sizeBytes },
      chain: await chainUpTo(worker, volume, episode),
      base:
        base === null || backup === undefined
          ? null
          : { backup, layers: changed.length, sizeBytes: base.sizeBytes },
      unlessSame: episode.asked === undefined,
      labels: { policy: volume.policy.name, node: worker.context.self.node },
      bytesPerSecond,
      socket,
    },
    options,
  );
}

/** An episode as the record has it now, what it is built on, and the layers in between. */
function pointOf({ id, volume }: VolumeWorker, wanted: EpisodeId) {
  const episode = volume && episodesOf(volume).find((e) => e.id === wanted);
  if (volume === undefined || episode === undefined) {
    throw new HyperscaleError('not-found', `episode ${wanted} of volume ${id} is gone`);
  }
  const base = baseOf(volume, episode);
  const above = placeOf(volume, base?.layer ?? null) + 1;
  const changed = volume.chain.slice(above, placeOf(volume, episode.layer) + 1);
  return { volume, episode, base, changed };
}

/**
 * Compares this node's copy of a layer with what was sealed before it is backed up: what is wrong in it
 * would be right in the backup. @throws `damaged`, after it was recorded; then another copy is taken
 */
async function checkCopy(
  worker: VolumeWorker,
  layer: SealedLayer,
  { bytesPerSecond, checked }: Pick<ShipOptions, 'bytesPerSecond' | 'checked'>,
  signal: AbortSignal,
): Promise<void> {
  const { content, environment, self } = worker.context;
  if (checked.has(layer.id) || !soundReplicas(layer).some((r) => r.node === self.node)) return;
  const pace =
    bytesPerSecond === 0 ? undefined : paced(environment, bytesPerSecond, () => false, signal);
  const found = await content.hash(layerKey(worker.id, layer), signal, pace);
  const now = worker.volume && sealedLayer(worker.volume, layer.id);
  if (now === undefined || !soundReplicas(now).some((r) => r.node === self.node)) {
    throw new HyperscaleError('conflict', `layer ${layer.epoch} was merged or dropped meanwhile`);
  }
  const ranges = await damagedParts(worker, layer, found, signal);
  if (ranges.length > 0) {
    await damageFound(worker, { layer: layer.id, node: self.node, ranges, by: 'a backup' });
    throw new HyperscaleError('damaged', `the copy of layer ${layer.epoch} here is damaged`);
  }
  if (checked.size >= maxChecked) checked.clear();
  checked.add(layer.id);
}

/** All that an episode shows, as QEMU reads it; null when there is nothing. */
async function chainUpTo(
  worker: VolumeWorker,
  volume: Volume,
  episode: Episode,
): Promise<BlockNode | null> {
  const lookup = (of: string) => worker.context.store.volume(of)?.value;
  const shown = layersOf(volume, episode, lookup);
  if (shown?.length === 0) return null;
  const chain = volume.chain
    .slice(0, placeOf(volume, episode.layer) + 1)
    // What is known to be damaged is not what was sealed.
    .map((layer) => ({ ...layer, replicas: soundReplicas(layer) }));
  const sources = await findSources(worker, { ...volume, chain });
  let top: BlockNode | null = null;
  for (const source of sources) top = layerNode(worker, source, top);
  return top;
}

/** One layer over those below it; heads may have it open too, read-only like here. */
function layerNode(
  worker: VolumeWorker,
  { layer, peers }: LayerSource,
  backing: BlockNode | null,
): BlockNode {
  const [peer] = peers;
  const path = worker.context.engine.layers.path(layer);
  const file =
    peer === undefined
      ? { driver: 'file', filename: path, locking: 'off' }
      : nbdNode({ type: 'inet', host: peer.address, port: String(peer.port) }, layer.layer);
  return { driver: 'qcow2', 'read-only': true, file: { ...file, 'read-only': true }, backing };
}
