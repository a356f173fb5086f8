import { HyperscaleError } from '../errors.ts';
import { hasPool, hasRoom } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import type { NodeView, Policy } from '../volume/types.ts';

/** Every node keeps all records in memory, about 3 KiB each. */
const maxVolumes = 20_000;

/**
 * Checks that the cluster can take one more volume.
 * @param records how many records there are, those of images and bases included.
 * @throws `not-allowed` when there are too many, `not-enough-nodes` and `no-space` when the policy
 *   needs more nodes than are up, or than have room.
 */
export function assertRoomForVolume(
  records: number,
  nodes: readonly NodeView[],
  policy: Policy,
): void {
  if (records >= maxVolumes) {
    throw new HyperscaleError('not-allowed', `there are ${records} volumes, which is the most`, {
      hint: 'Delete volumes that are not needed, or set up a second cluster.',
    });
  }
  assertRoomForPolicy(nodes, policy);
}

/** @throws `not-enough-nodes`, `no-space` as `assertRoomForVolume` */
export function assertRoomForPolicy(nodes: readonly NodeView[], policy: Policy): void {
  const wanted = copiesWanted(policy);
  const up = nodes.filter((n) => n.lease !== null && hasPool(n));
  const roomy = up.filter(hasRoom);
  if (roomy.length >= wanted) return;
  throw new HyperscaleError(
    roomy.length < up.length ? 'no-space' : 'not-enough-nodes',
    `policy ${policy.name} needs ${wanted} nodes with room; ${up.length} nodes with a pool are up and ${roomy.length} of them have room`,
    { hint: 'Start more nodes, free space, or choose a policy with fewer reflections.' },
  );
}
