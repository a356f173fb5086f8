/** Which copy of a layer goes when there are too many. Pure. */
import { crowding } from '../volume/domains.ts';
import { isDraining, used } from '../volume/placement.ts';
import type { NodeName, NodeView, Replica, SealedLayer, Volume } from '../volume/types.ts';

/** A copy that is being made goes on while what it is to relieve is fuller by this part of 1. */
export const restGap = 0.05;

/**
 * Copies that may go when there are too many, never one that a live node reads: those on a node that
 * is being drained or down first, then those in the rack of another copy, those where the volume is not
 * written, those that are not clean, those in the fullest pool.
 */
export function leastUsefulFirst(
  { tail }: Volume,
  layer: SealedLayer,
  nodes: readonly NodeView[],
  readers: ReadonlySet<NodeName>,
): Replica[] {
  const writeSet = tail.phase === 'open' ? tail.layer.members.map((m) => m.node) : [];
  const known = (name: NodeName) => nodes.find((n) => n.name === name);
  const isUp = (name: NodeName) => known(name)?.lease != null;
  const stays = (node: NodeView) => node.lease !== null && !isDraining(node);
  const holders = viewsOf(nodes, layer.replicas).filter(stays);
  const rank = (replica: Replica): number[] => {
    const node = known(replica.node);
    if (node === undefined) return [0];
    return [
      Number(!isDraining(node)),
      Number(node.lease !== null),
      -crowding(
        node,
        holders.filter((h) => h !== node),
      ),
      Number(writeSet.includes(node.name)),
      Number(replica.state === 'clean'),
      -used(node),
    ];
  };
  return layer.replicas
    .filter((r) => !(readers.has(r.node) && isUp(r.node)))
    .map((replica) => ({ replica, rank: rank(replica) }))
    .sort((a, b) => compared(a.rank, b.rank))
    .map(({ replica }) => replica);
}

function compared(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/**
 * A copy that is being filled although there are enough stays when it relieves a pool, or a rack,
 * as soon as it is there (rebalance.ts).
 */
export function isWorthFinishing(
  volume: Volume,
  layer: SealedLayer,
  copy: Replica,
  nodes: readonly NodeView[],
  readers: ReadonlySet<NodeName>,
): boolean {
  if (copy.state !== 'copying') return false;
  const gain = gainOf(volume, layer, copy, nodes, readers);
  return gain !== null && (gain.spreads || gain.gap >= restGap);
}

/** What a new copy of a layer that has enough is good for; see `gainOf`. */
export type Gain = {
  /** The copy that goes when the new one is there. */
  instead: Replica;
  /** That one shares a rack with another copy, and the new one does not. */
  spreads: boolean;
  /** How much fuller the pool of the one that goes is, as a part of 1. */
  gap: number;
};

/** Null when the new copy itself would be the one to go, or one on a node that is down. */
export function gainOf(
  volume: Volume,
  layer: SealedLayer,
  copy: { node: NodeName; pool: string },
  nodes: readonly NodeView[],
  readers: ReadonlySet<NodeName>,
): Gain | null {
  const others = layer.replicas.filter((r) => r.node !== copy.node);
  const then = { ...layer, replicas: [...others, { ...copy, state: 'clean' as const }] };
  const [instead] = leastUsefulFirst(volume, then, nodes, readers);
  const [target] = viewsOf(nodes, [copy]);
  const [source] = instead === undefined ? [] : viewsOf(nodes, [instead]);
  if (instead === undefined || source === undefined || target === undefined) return null;
  if (source === target || source.lease === null || isDraining(source)) return null;
  const remaining = viewsOf(nodes, others).filter((n) => n !== source);
  const spreads = crowding(source, remaining) === 2 && crowding(target, remaining) < 2;
  return { instead, spreads, gap: used(source) - used(target) };
}

function viewsOf(nodes: readonly NodeView[], places: readonly { node: NodeName }[]): NodeView[] {
  return places.flatMap((p) => nodes.find((n) => n.name === p.node) ?? []);
}
