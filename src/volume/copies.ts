/** Copies of sealed layers: proving, mending, adding, dropping. */

import { soundReplicas } from './damage.ts';
import { copiesWanted } from './policy.ts';
import { replicaOn } from './queries.ts';
import { refuse } from './refuse.ts';
import type { LayerId, NodeName, PoolId, Replica, SealedLayer, Volume } from './types.ts';

function withLayer(
  volume: Volume,
  id: LayerId,
  step: string,
  change: (layer: SealedLayer) => SealedLayer,
): Volume {
  if (!volume.chain.some((l) => l.id === id)) refuse(volume, step, `layer ${id} is not sealed`);
  return { ...volume, chain: volume.chain.map((l) => (l.id === id ? change(l) : l)) };
}

/** The authority has hashed its copy: from now on every clean copy must match this (rule 16). */
export function recordManifest(
  volume: Volume,
  id: LayerId,
  proof: { root: string; bytes: number },
): Volume {
  return withLayer(volume, id, 'manifest', (layer) =>
    layer.manifest === null
      ? { ...layer, manifest: proof.root, bytes: proof.bytes }
      : refuse(volume, 'manifest', `layer ${layer.epoch} has one already`),
  );
}

/** A copy was compared with a clean one, mended, and fsynced in the boot of the comparison. */
export function markClean(
  volume: Volume,
  id: LayerId,
  copy: { node: NodeName; pool: PoolId },
): Volume {
  return withLayer(volume, id, 'mend', (layer) => {
    const replica = replicaOn(layer, copy.node);
    if (replica === undefined || replica.pool !== copy.pool) {
      return refuse(volume, 'mend', `${copy.node} holds no copy of layer ${layer.epoch}`);
    }
    if (layer.manifest === null) {
      return refuse(volume, 'mend', `layer ${layer.epoch} has no manifest to be proven against`);
    }
    const replicas = layer.replicas.map((r) => (r === replica ? mended(r) : r));
    return { ...layer, replicas };
  });
}

/**
 * A node shall get a copy of a layer. What it may still hold of an earlier copy is no garbage any
 * more, lest its deletion take the new copy's file.
 */
export function addReplica(
  volume: Volume,
  id: LayerId,
  copy: { node: NodeName; pool: PoolId },
): Volume {
  const added = withLayer(volume, id, 'copy', (layer) => {
    if (replicaOn(layer, copy.node) !== undefined) {
      return refuse(volume, 'copy', `${copy.node} has a copy of layer ${layer.epoch}`);
    }
    return { ...layer, replicas: [...layer.replicas, { ...copy, state: 'copying' }] };
  });
  const garbage = volume.garbage
    .map((g) =>
      g.layer === id ? { ...g, holders: g.holders.filter((h) => h.pool !== copy.pool) } : g,
    )
    .filter((g) => g.holders.length > 0);
  return { ...added, garbage };
}

/** A copy that is not needed any more; refused unless enough clean ones remain (rule 7). */
export function dropReplica(volume: Volume, id: LayerId, node: NodeName): Volume {
  const layer = volume.chain.find((l) => l.id === id);
  const replica = layer && replicaOn(layer, node);
  if (layer === undefined || replica === undefined) {
    return refuse(volume, 'drop', `${node} has no copy of layer ${id}`);
  }
  const remaining = soundReplicas(layer).filter((r) => r.node !== node).length;
  if (remaining < copiesWanted(volume.policy)) {
    return refuse(volume, 'drop', `only ${remaining} clean copies would remain of ${layer.epoch}`);
  }
  const dropped = withLayer(volume, id, 'drop', (l) => ({
    ...l,
    replicas: l.replicas.filter((r) => r.node !== node),
  }));
  return {
    ...dropped,
    garbage: [
      ...volume.garbage,
      {
        layer: id,
        epoch: layer.epoch,
        afterEpoch: volume.epoch,
        holders: [{ node, pool: replica.pool }],
      },
    ],
  };
}

/** Clean, and what was found wrong with it before is no more. */
function mended({ node, pool }: Replica): Replica {
  return { node, pool, state: 'clean' };
}

export function withState(
  replicas: readonly Replica[],
  node: NodeName,
  state: Replica['state'],
): Replica[] {
  return replicas.map((r) => (r.node === node ? { ...r, state } : r));
}
