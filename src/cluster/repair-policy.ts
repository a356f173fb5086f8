import { hasPool } from '../volume/placement.ts';
import type { NodeView } from '../volume/types.ts';

/**
 * True when more than a third of the registered nodes with a pool are down. That is a network, a switch or the
 * power rather than disks: the nodes come back with their copies, and what is left could not hold
 * them all. No copies are made in their place then.
 */
export function repairRests(nodes: readonly NodeView[]): boolean {
  const pools = nodes.filter(hasPool);
  return pools.filter((n) => n.lease === null).length * 3 > pools.length;
}
