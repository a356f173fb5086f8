/**
 * Who may know a newer record than the newest one that was found. Pure. Whoever did something for
 * a volume keeps a record at least as new (sidecar.ts), so it is enough to have asked
 * - the members of a layer that is not sealed: its writer has prepared every later epoch itself, and
 *   a take-over is refused by none of them without leaving a fence behind;
 * - the holders of the newest sealed layer, when nothing is open: a later epoch is opened by one of
 *   them, or reads that layer from one of them.
 */
import type { Member, NodeName, PoolId, Volume } from '../volume/types.ts';
import type { Situation } from './recover-types.ts';

type Place = { node: NodeName; pool: PoolId };

/** Nodes that have to be asked about a volume of which this is the newest known record. */
export function mustBeAsked(volume: Volume): Place[] | 'all' {
  const { tail, chain } = volume;
  const holders = chain.at(-1)?.replicas;
  switch (tail.phase) {
    case 'deleting':
      return [];
    case 'open':
      return tail.layer.members;
    case 'fencing':
      return tail.unsealed.members;
    case 'opening': {
      const below: Place[] | undefined = tail.closing?.members ?? holders;
      return below === undefined ? 'all' : [...tail.next.members, ...below];
    }
    case 'idle':
      return holders ?? 'all';
  }
}

/** Those of them that do not answer, or came back with another pool. */
export function missingNodes(volume: Volume, { nodes, silent }: Situation): NodeName[] {
  const asked = mustBeAsked(volume);
  if (asked === 'all') return [...new Set(silent.map((s) => s.node))].sort();
  const missing = asked.filter((place) => !answers(nodes, place));
  return [...new Set(missing.map((place) => place.node))].sort();
}

/** True when the pool of this place was asked. */
export function answers(
  nodes: readonly { name: NodeName; pool: PoolId }[],
  place: Place | Member,
): boolean {
  return nodes.some((n) => n.name === place.node && n.pool === place.pool);
}
