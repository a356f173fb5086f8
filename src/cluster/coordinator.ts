import { cleanReplicas, writerOf } from '../volume/queries.ts';
import type { NodeName, NodeView, Volume } from '../volume/types.ts';

/**
 * The one node that plans copies and merges of a volume: the writer, else the first live holder of
 * the newest layer. Two nodes that both think so do no harm: every step is a compare-and-swap.
 */
export function coordinatorOf(volume: Volume, nodes: readonly NodeView[]): NodeName | null {
  const up = (name: NodeName) => nodes.some((n) => n.name === name && n.lease !== null);
  const writer = writerOf(volume);
  if (writer !== null) return up(writer) ? writer : null;
  const newest = volume.chain.at(-1);
  if (newest === undefined || volume.tail.phase !== 'idle') return null;
  const holders = cleanReplicas(newest)
    .map((r) => r.node)
    .filter(up)
    .sort();
  return holders[0] ?? null;
}
