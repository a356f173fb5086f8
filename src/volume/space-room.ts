/** How full pools are, and what could still be written. Pure. */
import { hasPool, hasRoom, isDraining, placementLimit, used } from './placement.ts';
import type { NodeName, NodeView, Volume } from './types.ts';

/** Bytes that a pool can take before it takes nothing new any more. */
export function roomOn(node: NodeView): number {
  if (!hasRoom(node) || node.lease === null) return 0;
  const { totalBytes, freeBytes } = node.lease;
  return Math.max(0, Math.floor(placementLimit * totalBytes - (totalBytes - freeBytes)));
}

/**
 * How much more can be written when each byte goes to so many different nodes. A node can hold each
 * byte once, so much room on one node helps little beside small others: the most D for which all nodes
 * together take D of each copy, none of them more than D. Racks are not looked at.
 */
export function growthRoom(nodes: readonly NodeView[], copies: number): number {
  const rooms = nodes
    .filter(hasPool)
    .map(roomOn)
    .sort((a, b) => b - a);
  let most = 0;
  // With the k largest full up to D, the rest takes all it has: (copies - k) * D = what the rest has.
  for (let k = 0; k < copies && k < rooms.length; k += 1) {
    const rest = rooms.slice(k).reduce((sum, room) => sum + room, 0);
    const each = Math.floor(rest / (copies - k));
    most = k === 0 ? each : Math.min(most, each);
  }
  return rooms.length < copies ? 0 : most;
}

export type PoolLimits = { warnPercent: number; criticalPercent: number };
export type PoolLevel = 'ok' | 'warn' | 'critical';

/** A pool must be emptier by this than where a warning began for it to end, percent. */
export const levelSlack = 2;

/** How a pool is, by how it was: at a threshold it does not change its mind with every byte. */
export function poolLevel(node: NodeView, before: PoolLevel, limits: PoolLimits): PoolLevel {
  if (node.lease === null || !hasPool(node)) return before;
  const percent = used(node) * 100;
  const { warnPercent, criticalPercent } = limits;
  const slack = (level: PoolLevel) => (level === before ? levelSlack : 0);
  if (percent >= criticalPercent - slack('critical')) return 'critical';
  const wasHigher = before === 'critical' ? levelSlack : slack('warn');
  return percent >= warnPercent - wasHigher ? 'warn' : 'ok';
}

/** A node whose copies could not be made again elsewhere if it were lost. */
export type Unrepairable = { node: NodeName; needBytes: number; roomBytes: number };

/**
 * Nodes whose loss could not be repaired in the space that is left: what they hold, as far as records
 * know its size, of layers that some other node lacks. Where there are no more nodes than copies,
 * space is not what is missing.
 * @param before nodes of which it was so: for them there must be a little more room than is needed.
 */
export function unrepairable(
  volumes: readonly Volume[],
  nodes: readonly NodeView[],
  before: ReadonlySet<NodeName> = new Set(),
): Unrepairable[] {
  const up = nodes.filter((n) => n.lease !== null && hasPool(n));
  return up.flatMap((node) => {
    const others = up.filter((n) => n.name !== node.name && !isDraining(n));
    const needBytes = volumes
      .flatMap((v) => v.chain)
      .filter(({ replicas }) => replicas.some((r) => r.node === node.name))
      .filter(({ replicas }) => others.some((o) => !replicas.some((r) => r.node === o.name)))
      .reduce((sum, layer) => sum + (layer.bytes ?? 0), 0);
    const roomBytes = others.reduce((sum, o) => sum + roomOn(o), 0);
    const slack = before.has(node.name) ? 1 - levelSlack / 100 : 1;
    return needBytes > roomBytes * slack ? [{ node: node.name, needBytes, roomBytes }] : [];
  });
}
