import type { NodeView } from '../volume/types.ts';

/**
 * True when more than a third of the registered nodes are down. That is a network, a switch or the
 * power rather than disks: the nodes come back with their copies, and what is left could not hold
 * them all. No copies are made in their place then.
 */
export function repairRests(nodes: readonly NodeView[]): boolean {
  return nodes.filter((n) => n.lease === null).length * 3 > nodes.length;
}
