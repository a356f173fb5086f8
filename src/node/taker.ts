import { attachmentOn, cleanReplicas } from '../volume/queries.ts';
import type { Member, NodeName, UnsealedLayer } from '../volume/types.ts';
import type { Situation } from './duties.ts';

/**
 * Who serves in place of this node when its own disk fails: a member that has all that was written
 * (`layer`), or, when nothing was served yet, one that has all that was sealed. First one that has a
 * consumer anyway.
 */
export function taker(situation: Situation, layer: UnsealedLayer | null): Member | undefined {
  const { volume, self, nodes, local } = situation;
  if (!local.failed.has(self.node) || !local.leasesKnown) return undefined;
  const lease = (node: NodeName) => nodes.find((n) => n.name === node)?.lease ?? null;
  const holders = volume.chain.at(-1);
  const candidates =
    layer?.members ??
    (holders === undefined ? [] : cleanReplicas(holders)).flatMap(({ node, pool }) => {
      const boot = lease(node)?.boot;
      return boot === undefined ? [] : [{ node, pool, boot }];
    });
  const able = candidates.filter(
    ({ node, boot }) =>
      node !== self.node &&
      lease(node)?.boot === boot &&
      !local.failed.has(node) &&
      !local.avoid.has(node),
  );
  return able.find(({ node }) => attachmentOn(volume, node) !== undefined) ?? able[0];
}
