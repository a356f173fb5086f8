import { HyperscaleError } from '../errors.ts';
import { copiesWanted } from './policy.ts';
import { replicaOn, unsealedLayer } from './queries.ts';
import type { Member, NodeName, NodeView, Volume } from './types.ts';

/** A pool fuller than this takes no volume that it does not write already. */
export const placementLimit = 0.85;
/** A member whose pool is fuller than this is replaced before it runs out of space. */
export const leavingLimit = 0.92;

/**
 * Chooses the write set of the next layer: the writer first (locality), then members of the
 * write set as it is, then the live nodes that hold most of the volume's clean layers (nothing to
 * copy), then those with most free space.
 * Returns fewer members than the policy asks for when no more nodes can take one.
 * @param avoid nodes that failed just now.
 * @throws `no-space` when a writer that is to begin has too full a pool, `node-down` when it has no
 *   lease. A writer that goes on is never refused: that would stop its guest for certain.
 */
export function placeMembers(
  volume: Volume,
  writer: NodeName,
  nodes: readonly NodeView[],
  avoid: ReadonlySet<NodeName>,
): Member[] {
  const members = unsealedLayer(volume)?.members ?? [];
  const goesOn = members.find((m, i) => i === 0 && m.node === writer);
  const own = goesOn ?? newWriter(volume, writer, nodes);
  const current = new Set(members.map((m) => m.node));
  const mayTake = (n: NodeView) => (current.has(n.name) ? !mustLeave(n) : hasRoom(n));
  const peers = nodes
    .filter((n) => n.name !== writer && n.lease !== null && !avoid.has(n.name) && mayTake(n))
    .map((n) => ({
      node: n,
      member: current.has(n.name) ? 1 : 0,
      layers: cleanLayersOn(volume, n.name),
      free: n.lease?.freeBytes ?? 0,
    }))
    .sort(
      (a, b) =>
        b.member - a.member ||
        b.layers - a.layers ||
        b.free - a.free ||
        (a.node.name < b.node.name ? -1 : 1),
    );
  const chosen = peers.slice(0, copiesWanted(volume.policy) - 1).map((p) => p.node);
  return [own, ...chosen.map(member)];
}

/** The first member of a volume that nobody writes now. */
function newWriter(volume: Volume, writer: NodeName, nodes: readonly NodeView[]): Member {
  const own = nodes.find((n) => n.name === writer);
  if (own?.lease == null) {
    throw new HyperscaleError('node-down', `node ${writer} is not up`, {
      hint: 'Start hyperscaled on it, or choose another node.',
    });
  }
  const known = cleanLayersOn(volume, writer) > 0;
  if (known ? mustLeave(own) : !hasRoom(own)) {
    const { freeBytes, totalBytes } = own.lease;
    throw new HyperscaleError(
      'no-space',
      `the pool of node ${writer} is ${usedPercent(own)} full`,
      {
        hint: 'Delete volumes, add space, or attach on another node.',
        values: { node: writer, freeBytes, totalBytes },
      },
    );
  }
  return member(own);
}

/** True when a pool may take layers of volumes that are new to it. */
export function hasRoom(node: NodeView): boolean {
  return used(node) < placementLimit;
}

/** True when a pool is about to run out of space. */
export function mustLeave(node: NodeView): boolean {
  return used(node) >= leavingLimit;
}

/** How full a pool is, 0 to 1; a pool that nothing is known of is full. */
function used({ lease }: NodeView): number {
  return lease === null || lease.totalBytes <= 0 ? 1 : 1 - lease.freeBytes / lease.totalBytes;
}

/** For people. */
export function usedPercent(node: NodeView): string {
  const { lease } = node;
  if (lease === null || lease.totalBytes === 0) return 'unknown';
  return `${Math.round((1 - lease.freeBytes / lease.totalBytes) * 100)} %`;
}

function cleanLayersOn(volume: Volume, node: NodeName): number {
  return volume.chain.filter((l) => replicaOn(l, node)?.state === 'clean').length;
}

function member(node: NodeView): Member {
  return { node: node.name, pool: node.pool, boot: node.lease?.boot ?? '' };
}
