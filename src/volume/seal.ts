import type { Garbage, NodeName, SealedLayer, UnsealedLayer, Volume } from './types.ts';

/**
 * What a layer becomes when its epoch ends. `authority` decides what it holds; `clean` names the
 * members known to hold exactly the same (all of them after a graceful end, only the authority
 * after a crash: rule 5).
 */
export function sealLayer(
  layer: UnsealedLayer,
  authority: NodeName,
  clean: readonly NodeName[],
): SealedLayer {
  return {
    id: layer.id,
    epoch: layer.epoch,
    sizeBytes: layer.sizeBytes,
    manifest: null,
    bytes: null,
    authority,
    replicas: layer.members.map((m) => ({
      node: m.node,
      pool: m.pool,
      state: m.node === authority || clean.includes(m.node) ? 'clean' : 'unverified',
    })),
    ...(layer.openedAt === undefined ? {} : { openedAt: layer.openedAt }),
  };
}

/** A sealed layer that is no longer part of the volume; every holder deletes its file. */
export function removed(layer: SealedLayer, afterEpoch: number): Garbage {
  return {
    layer: layer.id,
    epoch: layer.epoch,
    afterEpoch,
    holders: layer.replicas.map(({ node, pool }) => ({ node, pool })),
  };
}

/** A prepared layer that was never served: nothing acknowledged lies in it. */
export function discarded(layer: UnsealedLayer): Garbage {
  return {
    layer: layer.id,
    epoch: layer.epoch,
    afterEpoch: 0,
    holders: layer.members.map(({ node, pool }) => ({ node, pool })),
  };
}

/** The epoch that a new layer of this volume gets. */
export function nextEpoch(volume: Volume): number {
  return volume.epoch + 1;
}
