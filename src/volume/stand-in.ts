/**
 * A host without a pool writes nothing. Where only such hosts have a volume attached, another node
 * serves it in their place, as it does for a writer whose disk failed (hand-over.ts): with an
 * attachment of its own that stands in for the host's, and goes when that one does. Pure.
 */
import { withoutHosts } from './attachments.ts';
import { hasPool, isDraining, mayBegin } from './placement.ts';
import { attachmentOn, replicaOn } from './queries.ts';
import { refuse } from './refuse.ts';
import type { Attachment, NodeName, NodeView, SealedLayer, Volume } from './types.ts';

/**
 * The node that would serve best: a live one with a pool, which is not being drained if there is one,
 * holds the most of what the volume shows, and has the most free space. Undefined when none can.
 * @param seen all layers that the volume shows, as far as they are known here.
 * @param avoid nodes that do not answer.
 */
export function standInNode(
  seen: readonly SealedLayer[],
  nodes: readonly NodeView[],
  avoid: ReadonlySet<NodeName>,
): NodeView | undefined {
  const held = (node: NodeName) =>
    seen.filter((layer) => replicaOn(layer, node)?.state === 'clean').length;
  const [best] = nodes
    .filter((n) => n.lease !== null && hasPool(n) && !avoid.has(n.name))
    .map((node) => ({ node, layers: held(node.name), free: node.lease?.freeBytes ?? 0 }))
    .filter(({ node, layers }) => mayBegin(node, layers > 0))
    .sort(
      (a, b) =>
        Number(isDraining(a.node)) - Number(isDraining(b.node)) ||
        b.layers - a.layers ||
        b.free - a.free ||
        (a.node.name < b.node.name ? -1 : 1),
    );
  return best?.node;
}

/**
 * Lets a node open an idle volume in place of a host without a pool.
 * @param other the node's attachment, which ends with that of the host.
 */
export function standIn(volume: Volume, host: NodeName, other: Attachment): Volume {
  const { tail, attachments } = volume;
  if (tail.phase !== 'idle') refuse(volume, 'stand-in', `it is ${tail.phase}`);
  if (attachmentOn(volume, host) === undefined) {
    refuse(volume, 'stand-in', `${host} has no attachment`);
  }
  // It has a consumer of its own, and opens the volume for that one.
  if (attachmentOn(volume, other.host)?.boot === other.boot) return volume;
  const stale = attachments.filter((a) => a.standInFor === host).map((a) => a.host);
  const others = withoutHosts(attachments, [...stale, other.host]);
  return { ...volume, attachments: [...others, { ...other, standInFor: host }] };
}
