/** Which node does what one that was asked cannot do itself. Pure. */
import { HyperscaleError } from '../errors.ts';
import { hasPool, hasRoom } from '../volume/placement.ts';
import type { NodeName, NodeView } from '../volume/types.ts';

/** What a request needs of the node that answers it. */
export type Needs = {
  /** Name of a backup target; null: none. */
  target: string | null;
  pool: boolean;
};

/** True when a node, if it is up, has what is needed. */
export function canAnswer(node: NodeView, { target, pool }: Needs): boolean {
  const hasTarget = target === null || node.backupTargets?.includes(target) === true;
  return hasTarget && (!pool || hasPool(node));
}

/** True when some node, perhaps one that is down, has the target, or none is needed. */
export function isKnown(nodes: readonly NodeView[], { target }: Needs): boolean {
  return nodes.some((n) => canAnswer(n, { target, pool: false }));
}

/**
 * Live nodes that have what is needed: those that have room for something new first, then those with
 * the most free space.
 * @throws `not-found` when no node has such a target, `not-enough-nodes` when none that has it has a
 *   pool, `node-down` naming those that are down when no other has what is needed
 */
export function answeringNodes(nodes: readonly NodeView[], needs: Needs): NodeName[] {
  const { target, pool } = needs;
  if (target !== null && !isKnown(nodes, needs)) throw unknownTarget(target, nodes);
  const able = nodes.filter((n) => canAnswer(n, needs));
  const what = [
    ...(pool ? ['a pool'] : []),
    ...(target === null ? [] : [`the backup target ${target}`]),
  ].join(' and ');
  if (able.length === 0) {
    throw new HyperscaleError('not-enough-nodes', `no node has ${what}`, {
      hint: 'Targets are set in the configuration of nodes (backup.targets): docs/backup.md.',
      values: { target },
    });
  }
  const live = able.filter((n) => n.lease !== null);
  if (live.length === 0) {
    const down = able.map((n) => n.name).sort();
    throw new HyperscaleError('node-down', `no node that is up has ${what}`, {
      hint: `Start hyperscaled on ${down.join(' or ')}.`,
      values: { target, down },
    });
  }
  return live
    .sort(
      (a, b) =>
        (pool ? Number(hasRoom(b)) - Number(hasRoom(a)) : 0) ||
        (b.lease?.freeBytes ?? 0) - (a.lease?.freeBytes ?? 0) ||
        (a.name < b.name ? -1 : 1),
    )
    .map((n) => n.name);
}

function unknownTarget(target: string, nodes: readonly NodeView[]): HyperscaleError {
  const known = [...new Set(nodes.flatMap((n) => n.backupTargets ?? []))].sort();
  return new HyperscaleError('not-found', `no node has a backup target ${target}`, {
    hint:
      known.length === 0
        ? 'Targets are set in the configuration of nodes (backup.targets): docs/backup.md.'
        : `Targets are ${known.join(', ')}.`,
    values: { target },
  });
}
