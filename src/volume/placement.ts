import { HyperscaleError } from '../errors.ts';
import { crowding } from './domains.ts';
import { copiesWanted } from './policy.ts';
import { replicaOn, unsealedLayer } from './queries.ts';
import type { Member, NodeName, NodeView, Volume } from './types.ts';

/** A pool fuller than this takes no volume that it does not write already. */
export const placementLimit = 0.85;
/** A member whose pool is fuller than this is replaced before it runs out of space. */
export const leavingLimit = 0.92;

/**
 * Chooses the write set of the next layer: the writer first, then one node after the other, each
 * from another rack than those before if there is one. Of these the members of the write set as it
 * is come first, then the live nodes that hold most of the volume's clean layers (nothing to copy),
 * then those with most free space. A member that is being drained stays only for want of others.
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
  const ownView = nodes.find((n) => n.name === writer);
  const current = new Set(members.map((m) => m.node));
  const mayTake = (n: NodeView) => hasPool(n) && (current.has(n.name) ? !mustLeave(n) : hasRoom(n));
  const candidates = nodes
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
    )
    .map((c) => c.node);
  const others = spread(candidates, copiesWanted(volume.policy) - 1, ownView ? [ownView] : []);
  return [own, ...others.map(member)];
}

/**
 * Takes so many nodes from a list that is in order of preference, each the first of those that are
 * least near to what was taken before. What is being drained is left to the end.
 */
function spread(
  preferred: readonly NodeView[],
  count: number,
  taken: readonly NodeView[],
): NodeView[] {
  const cost = (n: NodeView) => Number(isDraining(n)) * 4 + crowding(n, taken);
  const [best] = [...preferred].sort((a, b) => cost(a) - cost(b));
  if (count <= 0 || best === undefined) return [];
  const rest = preferred.filter((n) => n !== best);
  return [best, ...spread(rest, count - 1, [...taken, best])];
}

/** The first member of a volume that nobody writes now. */
function newWriter(volume: Volume, writer: NodeName, nodes: readonly NodeView[]): Member {
  const own = nodes.find((n) => n.name === writer);
  if (own?.lease == null) {
    throw new HyperscaleError('node-down', `node ${writer} is not up`, {
      hint: 'Start hyperscaled on it, or choose another node.',
    });
  }
  if (!hasPool(own)) {
    throw new HyperscaleError('not-allowed', `node ${writer} has no pool and writes nothing`, {
      hint: 'This is a defect: another node serves what is attached there. Report it with the log.',
      values: { node: writer },
    });
  }
  if (!mayBegin(own, cleanLayersOn(volume, writer) > 0)) {
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

/** False for a node that only uses volumes. */
export function hasPool({ withoutPool }: NodeView): boolean {
  return withoutPool === undefined;
}

/** True when a node with a pool may begin to write a volume, of which it may hold layers (`known`). */
export function mayBegin(node: NodeView, known: boolean): boolean {
  return known ? !mustLeave(node) : !isFull(node);
}

/** True when a node may take layers of volumes that are new to it. */
export function hasRoom(node: NodeView): boolean {
  return hasPool(node) && !isFull(node) && !isDraining(node);
}

/** True when a pool is too full for layers of volumes that are new to it. */
export function isFull(node: NodeView): boolean {
  return used(node) >= placementLimit;
}

/** True while everything is to leave the node. */
export function isDraining(node: NodeView): boolean {
  return node.drain !== undefined;
}

/** True when a pool is about to run out of space. */
export function mustLeave(node: NodeView): boolean {
  return used(node) >= leavingLimit;
}

/** How full a pool is, 0 to 1; a pool that nothing is known of is full. */
export function used({ lease }: NodeView): number {
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
