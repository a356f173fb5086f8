import { hasPool, isFull, usedPercent } from '../volume/placement.ts';
import { type Unrepairable, unrepairable } from '../volume/space-room.ts';
import type { NodeView } from '../volume/types.ts';
import type { NodeService } from './service.ts';

type Finding = { what: string; action: string };

/** What the space that is left means, before it is used up. */
export function spaceFindings(
  service: Pick<NodeService, 'nodes' | 'volumes' | 'space'>,
): Finding[] {
  const nodes = service.nodes();
  const volumes = service.volumes().map(({ value }) => value);
  return [
    ...nodes
      .filter((n) => n.lease !== null && hasPool(n))
      .flatMap((n) => poolFinding(n, service.space) ?? []),
    ...unrepairable(volumes, nodes).map(repairFinding),
  ];
}

function poolFinding(node: NodeView, space: NodeService['space']): Finding | null {
  const level = space.level(node.name);
  if (level === 'ok' && !isFull(node)) return null;
  const full = `The pool of ${node.name} is ${usedPercent(node)} full`;
  const what = isFull(node)
    ? `${full}: it takes no volumes that are new to it.`
    : `${full}, more than ${space.limits[level === 'critical' ? 'criticalPercent' : 'warnPercent']} %.`;
  return level === 'critical'
    ? {
        what: `${what} Guests that write there are stopped when nothing is left.`,
        action: `Make room now: hscli space --volumes tells what takes it; volumes leave with hscli node drain ${node.name}`,
      }
    : {
        what,
        action: 'Make room there, before it takes part in nothing that is written: hscli space',
      };
}

function repairFinding({ node, needBytes, roomBytes }: Unrepairable): Finding {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return {
    what: `If ${node} were lost, its copies could not all be made again: ${gib(needBytes)} at least, and the others have room for ${gib(roomBytes)}.`,
    action: 'Add a node or space, or delete volumes or snapshots: hscli space --volumes',
  };
}
