/**
 * A volume that is used while its content still comes from a backup. Its first layer has no clean copy
 * yet: it is read from the backup, through a node that has the target, and is being copied there. What
 * it holds is decided by the backup alone, so it may begin anew, anywhere, at any time.
 */
import { createVolume } from './create.ts';
import { importedEpoch } from './import.ts';
import { sealedLayer } from './queries.ts';
import { refuse } from './refuse.ts';
import type { LayerId, NodeName, PoolId, RestoredFrom, SealedLayer, Volume } from './types.ts';

/** Where the layer is served and copied. */
export type RestorePlace = { node: NodeName; pool: PoolId };

/** The record of a volume that can be used while `place` restores it. */
export function createRestoring(
  request: Parameters<typeof createVolume>[0] & { restoredFrom: RestoredFrom },
  layer: LayerId,
  place: RestorePlace & { port: number },
): Volume {
  const { node, pool, port } = place;
  const first: SealedLayer = {
    id: layer,
    epoch: importedEpoch,
    sizeBytes: request.sizeBytes,
    manifest: null,
    bytes: null,
    authority: node,
    replicas: [{ node, pool, state: 'copying' }],
    restoring: { node, pool, port },
  };
  return { ...createVolume(request), epoch: importedEpoch, chain: [first] };
}

/** The layer of a record that is being restored, if there is one. */
export function restoringLayer(volume: Volume): SealedLayer | undefined {
  return volume.chain.find((l) => l.restoring !== undefined);
}

/** The backup is served there, at another port than before perhaps; or has a problem, or none any more. */
export function serveRestore(
  volume: Volume,
  id: LayerId,
  place: RestorePlace,
  now: { port: number | null; problem: string | null },
): Volume {
  const { restoring } = theLayer(volume, id, place);
  if (restoring.port === now.port && (restoring.problem ?? null) === now.problem) return volume;
  const { node, pool } = place;
  const { port, problem } = now;
  return withLayer(volume, id, (layer) => ({
    ...layer,
    restoring: { node, pool, port, ...(problem === null ? {} : { problem }) },
  }));
}

/** The whole content is in a copy, on stable storage and hashed: from here on it is a layer as any. */
export function completeRestore(
  volume: Volume,
  id: LayerId,
  place: RestorePlace,
  proof: { root: string; bytes: number },
): Volume {
  theLayer(volume, id, place);
  const { node, pool } = place;
  return withLayer(volume, id, ({ restoring: _, ...layer }) => ({
    ...layer,
    manifest: proof.root,
    bytes: proof.bytes,
    authority: node,
    replicas: layer.replicas.map((r) =>
      r.node === node && r.pool === pool ? { node, pool, state: 'clean' } : r,
    ),
  }));
}

/** Another node takes it over: the one before is down. What that has of it is deleted. */
export function takeOverRestore(
  volume: Volume,
  id: LayerId,
  from: RestorePlace,
  to: RestorePlace,
): Volume {
  const layer = theLayer(volume, id, from);
  if (from.node === to.node && from.pool === to.pool) {
    return refuse(volume, 'restore', `${to.node} restores layer ${layer.epoch} already`);
  }
  const isOf =
    ({ pool }: RestorePlace) =>
    (other: RestorePlace) =>
      other.pool === pool;
  const others = layer.replicas.filter((r) => !isOf(from)(r) && !isOf(to)(r));
  const holders = [{ node: from.node, pool: from.pool }];
  const { epoch } = layer;
  return {
    ...withLayer(volume, id, (l) => ({
      ...l,
      authority: to.node,
      replicas: [...others, { ...to, state: 'copying' }],
      restoring: { ...to, port: null },
    })),
    garbage: [
      // What the new place may hold of an earlier time is no garbage any more.
      ...volume.garbage
        .map((g) => (g.layer === id ? { ...g, holders: g.holders.filter((h) => !isOf(to)(h)) } : g))
        .filter((g) => g.holders.length > 0),
      { layer: id, epoch, afterEpoch: 0, holders },
    ],
  };
}

type Restoring = SealedLayer & { restoring: NonNullable<SealedLayer['restoring']> };

function theLayer(volume: Volume, id: LayerId, place: RestorePlace): Restoring {
  const layer = sealedLayer(volume, id);
  const restoring = layer?.restoring;
  if (layer === undefined || restoring?.node !== place.node || restoring.pool !== place.pool) {
    return refuse(volume, 'restore', `layer ${id} is not being restored on ${place.node}`);
  }
  return { ...layer, restoring };
}

function withLayer(
  volume: Volume,
  id: LayerId,
  change: (layer: SealedLayer) => SealedLayer,
): Volume {
  return { ...volume, chain: volume.chain.map((l) => (l.id === id ? change(l) : l)) };
}
