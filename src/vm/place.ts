/** Which live node takes over a guest of a dead one. Pure. */
import { HyperscaleError } from '../errors.ts';
import type { NodeName } from '../volume/types.ts';
import { isGone, type VmState } from './record.ts';

/** The node with the fewest running guests; of several the one whose name comes first. */
export function leastLoaded(
  candidates: readonly NodeName[],
  records: readonly VmState[],
): NodeName {
  const load = (node: NodeName) => records.filter((r) => r.node === node && r.running).length;
  const [best] = [...candidates].sort((a, b) => load(a) - load(b) || a.localeCompare(b));
  if (best === undefined) {
    throw new HyperscaleError('not-enough-nodes', 'no live node can run guests', {
      hint: 'Start hyperscaled and libvirtd on another node; hscli node list shows which are up.',
    });
  }
  return best;
}

/** The guests that an evacuation of `node` is about: its own, and those on their way from it. */
export function concerned<T extends VmState>(records: readonly T[], node: NodeName): T[] {
  return records.filter((r) => !isGone(r) && (r.node === node || onItsWay(r, node)));
}

/** Claimed for another node by an evacuation of `node` that did not get to its end. */
export function onItsWay({ evacuation, leftOn }: VmState, node: NodeName): boolean {
  return evacuation !== null && (evacuation.from === node || leftOn.includes(node));
}
