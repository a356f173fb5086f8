/** Carries out what an operator agreed to lose (accept-loss-plan.ts). */
import type { LossPlan } from './accept-loss-plan.ts';
import { snapshotsOf, withMarks } from './marks.ts';
import { abandonMerge } from './merge.ts';
import { unsealedLayer } from './queries.ts';
import { refuse } from './refuse.ts';
import { discarded, nextEpoch, sealLayer } from './seal.ts';
import type {
  AcceptedLoss,
  Garbage,
  LayerId,
  NodeName,
  PoolId,
  SealedLayer,
  Volume,
} from './types.ts';

/** Who decides, and when; `text` is what was said before. */
export type Decision = Pick<AcceptedLoss, 'at' | 'by' | 'node' | 'text'>;

/**
 * Carries a plan out. Snapshots that end at what is given up go with it. The volume is idle afterwards, without attachments: a consumer that has seen
 * newer data must be started anew. Copies of what is given up are put aside by their holders; copies
 * that may be better than a believed one are `unverified`, and are mended to equal it.
 * @throws `conflict` when the open layer is concerned and `decision.node` has not begun to fence.
 */
export function acceptLoss(volume: Volume, plan: LossPlan, decision: Decision): Volume {
  const merging = volume.merge;
  const settled = merging === null ? volume : abandonMerge(volume, merging.into);
  const gone = new Set(plan.dropped.map((d) => d.layer));
  const trusted = new Map(plan.believed.map((b) => [b.layer, b.node]));
  const { tail } = settled;
  const unsealed = unsealedLayer(settled);
  const ends = unsealed !== null && (gone.has(unsealed.id) || trusted.has(unsealed.id));
  if (ends && (tail.phase !== 'fencing' || tail.taker !== decision.node)) {
    refuse(volume, 'force', `${decision.node} has not begun to take it over`);
  }
  const chain = settled.chain.filter((l) => !gone.has(l.id)).map((l) => believe(l, trusted));
  const authority = unsealed === null ? undefined : trusted.get(unsealed.id);
  if (unsealed !== null && authority !== undefined) chain.push(sealLayer(unsealed, authority, []));
  const putAside: Garbage[] = [
    ...settled.chain.filter((l) => gone.has(l.id)).map((l) => aside(l, l.replicas)),
    ...(unsealed !== null && gone.has(unsealed.id) ? [aside(unsealed, unsealed.members)] : []),
  ];
  // Nothing was served from a layer that is prepared on top of what is given up.
  const abandoned = tail.phase === 'opening' && gone.size > 0 ? [discarded(tail.next)] : [];
  const loss: AcceptedLoss = {
    ...decision,
    believed: plan.believed.map(({ layer, epoch, node }) => ({ layer, epoch, node })),
    dropped: plan.dropped.map(({ layer, epoch }) => ({ layer, epoch })),
  };
  const decided: Volume = {
    ...settled,
    epoch: nextEpoch(settled),
    attachments: [],
    chain,
    tail: ends || abandoned.length > 0 ? { phase: 'idle' } : tail,
    garbage: [...settled.garbage, ...putAside, ...abandoned],
    losses: [...(settled.losses ?? []), loss],
  };
  return withMarks(decided, {
    snapshots: snapshotsOf(settled).filter((s) => s.layer === null || !gone.has(s.layer)),
    loose: (settled.loose ?? []).filter((id) => !gone.has(id)),
    // What the layers hold now may be other than what backups were made from: they are no base any more.
    episodes: [],
  });
}

/** The believed copy decides; what was proven equal to another content is in doubt now. */
function believe(layer: SealedLayer, trusted: ReadonlyMap<LayerId, NodeName>): SealedLayer {
  const node = trusted.get(layer.id);
  if (node === undefined) return layer;
  return {
    ...layer,
    manifest: null,
    bytes: null,
    authority: node,
    replicas: layer.replicas.map((r) => {
      if (r.node === node) return { node: r.node, pool: r.pool, state: 'clean' };
      return r.state === 'clean' ? { node: r.node, pool: r.pool, state: 'unverified' } : r;
    }),
  };
}

function aside(
  layer: { id: LayerId; epoch: number },
  places: readonly { node: NodeName; pool: PoolId }[],
): Garbage {
  const holders = places.map(({ node, pool }) => ({ node, pool }));
  return { layer: layer.id, epoch: layer.epoch, afterEpoch: 0, holders, keep: true };
}

/** True when a plan is exactly what was agreed to. */
export function isAccepted(
  plan: LossPlan,
  accepted: {
    believed: readonly { layer: LayerId; node: NodeName }[];
    dropped: readonly LayerId[];
  },
): boolean {
  const key = (list: readonly string[]) => [...list].sort().join();
  return (
    key(plan.believed.map((b) => `${b.layer}@${b.node}`)) ===
      key(accepted.believed.map((b) => `${b.layer}@${b.node}`)) &&
    key(plan.dropped.map((d) => d.layer)) === key(accepted.dropped)
  );
}
