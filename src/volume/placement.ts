import { HyperscaleError } from '../errors.ts';
import { copiesWanted } from './policy.ts';
import { replicaOn, unsealedLayer } from './queries.ts';
import type { Member, NodeName, NodeView, Volume } from './types.ts';

/** New layers are not placed on a pool fuller than this. */
export const placementLimit = 0.85;

/**
 * Chooses the write set of the next layer: the writer first (locality), then members of the
 * write set as it is, then the live nodes that hold most of the volume's clean layers (nothing to
 * copy), then those with most free space.
 * Returns fewer members than the policy asks for when no more nodes can take one.
 * @param avoid nodes that failed just now.
 * @throws `no-space` when the writer's own pool is too full, `node-down` when it has no lease.
 */
export function placeMembers(
  volume: Volume,
  writer: NodeName,
  nodes: readonly NodeView[],
  avoid: ReadonlySet<NodeName>,
): Member[] {
  const own = nodes.find((n) => n.name === writer);
  if (own?.lease == null) {
    throw new HyperscaleError('node-down', `node ${writer} is not up`, {
      hint: 'Start hyperscaled on it, or choose another node.',
    });
  }
  if (!hasRoom(own)) {
    throw new HyperscaleError(
      'no-space',
      `the pool of node ${writer} is ${usedPercent(own)} full`,
      {
        hint: 'Delete volumes, add space, or attach on another node.',
        values: { node: writer, freeBytes: own.lease.freeBytes, totalBytes: own.lease.totalBytes },
      },
    );
  }
  const current = new Set(unsealedLayer(volume)?.members.map((m) => m.node) ?? []);
  const peers = nodes
    .filter((n) => n.name !== writer && n.lease !== null && !avoid.has(n.name) && hasRoom(n))
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
  return [own, ...peers.slice(0, copiesWanted(volume.policy) - 1).map((p) => p.node)].map(member);
}

/** True when a pool may take new layers. */
export function hasRoom(node: NodeView): boolean {
  const { lease } = node;
  return (
    lease !== null &&
    lease.totalBytes > 0 &&
    1 - lease.freeBytes / lease.totalBytes < placementLimit
  );
}

function usedPercent(node: NodeView): string {
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
