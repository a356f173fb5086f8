import type { Labels } from './types.ts';

/**
 * How much of what may fail at once two nodes share: 2 the rack, 1 the site alone, 0 nothing. A
 * node without labels shares nothing with anybody; all nodes of a site that name no rack are one.
 */
export function nearness(a: Labels | undefined, b: Labels | undefined): 0 | 1 | 2 {
  if (a === undefined || b === undefined || a.site !== b.site) return 0;
  if (a.rack === b.rack) return a.site === undefined && a.rack === undefined ? 0 : 2;
  return a.site === undefined ? 0 : 1;
}

type Placed = { labels?: Labels };

/** How near a node is to the nearest of others. */
export function crowding(node: Placed, others: readonly Placed[]): number {
  return Math.max(0, ...others.map((other) => nearness(node.labels, other.labels)));
}

/** Pairs of these nodes that share a rack. */
export function sharedRacks(nodes: readonly Placed[]): number {
  return nodes.reduce(
    (sum, node, i) =>
      sum + nodes.slice(i + 1).filter((o) => nearness(node.labels, o.labels) === 2).length,
    0,
  );
}
