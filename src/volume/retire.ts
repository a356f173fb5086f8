/** A pool that is gone for good, or one copy of it: taken out of a volume's record. */
import { HyperscaleError } from '../errors.ts';
import { withoutHosts } from './attachments.ts';
import { soundReplicas } from './damage.ts';
import { abandonMerge } from './merge.ts';
import { cleanReplicas, unsealedLayer } from './queries.ts';
import { refuse } from './refuse.ts';
import type { LayerId, NodeName, PoolId, SealedLayer, Volume } from './types.ts';

/** A pool and the node that it was on. */
export type Place = { node: NodeName; pool: PoolId };

/** True while the record names the pool, or an attachment on its node. */
export function isNamed(volume: Volume, gone: Place): boolean {
  const places = [
    ...volume.chain.flatMap((l) => l.replicas),
    ...volume.garbage.flatMap((g) => g.holders),
    ...(volume.merge?.replicas ?? []),
    ...(volume.importing ? [volume.importing] : []),
    ...tailMembers(volume),
  ];
  return (
    places.some((p) => p.pool === gone.pool) || volume.attachments.some((a) => a.host === gone.node)
  );
}

/** True while a layer that is open, or being opened or ended, has a member there. */
export function isWrittenTo(volume: Volume, pool: PoolId): boolean {
  return tailMembers(volume).some((m) => m.pool === pool);
}

function tailMembers(volume: Volume): Place[] {
  const { tail } = volume;
  const next = tail.phase === 'opening' ? tail.next.members : [];
  return [...(unsealedLayer(volume)?.members ?? []), ...next];
}

/** Sealed layers whose only clean copy lies in the pool. */
export function onlyThere(volume: Volume, pool: PoolId): SealedLayer[] {
  return volume.chain.filter((layer) => {
    const clean = cleanReplicas(layer);
    return clean.length > 0 && clean.every((r) => r.pool === pool);
  });
}

/**
 * Takes the pool's copies, garbage and part in a merge, and its node's attachment, out of the
 * record. Nobody waits for it any more.
 * @throws `conflict` while a layer that is not sealed has a member there; `not-allowed` when it has
 *   the only clean copy of a layer (rule 7).
 */
export function retirePool(volume: Volume, gone: Place): Volume {
  if (!isNamed(volume, gone)) return volume;
  if (isWrittenTo(volume, gone.pool)) {
    refuse(volume, 'retire', `a layer that is not sealed has a member on ${gone.node}`);
  }
  if (volume.importing?.pool === gone.pool) {
    refuse(volume, 'retire', `it is being imported on ${gone.node}; delete it first`);
  }
  if (volume.chain.some((l) => l.restoring?.pool === gone.pool)) {
    refuse(volume, 'retire', `it is being restored on ${gone.node}; delete it first`);
  }
  const [only] = onlyThere(volume, gone.pool);
  if (only !== undefined) {
    throw new HyperscaleError(
      'not-allowed',
      `${gone.node} has the only clean copy of layer ${only.epoch} of volume ${volume.name}`,
      { hint: 'Bring the node back and let it be copied.', values: { volume: volume.id } },
    );
  }
  const { merge } = volume;
  const takesPart = merge?.replicas.some((r) => r.pool === gone.pool) === true;
  const settled = merge !== null && takesPart ? abandonMerge(volume, merge.into) : volume;
  return {
    ...settled,
    attachments: withoutHosts(settled.attachments, [gone.node]),
    chain: settled.chain.map((l) => ({
      ...l,
      replicas: l.replicas.filter((r) => r.pool !== gone.pool),
    })),
    garbage: garbageWithout(settled, gone.pool),
  };
}

/** Nobody waits any more for the pool to delete files; all else stays. */
export function stopWaiting(volume: Volume, pool: PoolId): Volume {
  const waits = volume.garbage.some((g) => g.holders.some((h) => h.pool === pool));
  return waits ? { ...volume, garbage: garbageWithout(volume, pool) } : volume;
}

function garbageWithout({ garbage }: Volume, pool: PoolId): Volume['garbage'] {
  return garbage
    .map((g) => ({ ...g, holders: g.holders.filter((h) => h.pool !== pool) }))
    .filter((g) => g.holders.length > 0);
}

/**
 * A copy whose file is gone or cannot be one: it counts no more, and another is made.
 * @throws `not-allowed` when no other sound copy is recorded (rule 7), `conflict` when it is not there.
 */
export function loseCopy(volume: Volume, id: LayerId, lost: Place): Volume {
  const layer = volume.chain.find((l) => l.id === id);
  const copy = layer?.replicas.find((r) => r.node === lost.node && r.pool === lost.pool);
  if (layer === undefined || copy === undefined) {
    return refuse(volume, 'fsck', `${lost.node} has no copy of layer ${id}`);
  }
  if (!soundReplicas(layer).some((r) => r !== copy)) {
    throw new HyperscaleError(
      'not-allowed',
      `${lost.node} has the only clean copy of layer ${layer.epoch} of volume ${volume.name}`,
      { values: { volume: volume.id, layer: id } },
    );
  }
  const { merge } = volume;
  const merged = merge?.layers.includes(id) === true;
  const settled = merge !== null && merged ? abandonMerge(volume, merge.into) : volume;
  return {
    ...settled,
    chain: settled.chain.map((l) =>
      l.id === id ? { ...l, replicas: l.replicas.filter((r) => r !== copy) } : l,
    ),
  };
}
