/**
 * Frees damaged copies to be mended. Watches: records, node leases. Wants: no damaged copy that is
 * read, or kept as the last one, while a sound copy is alive. Does: takes the damaged one out of
 * use; the mend then repairs it.
 */
import { soundReplicas, withdrawDamaged } from '../volume/damage.ts';
import { cleanReplicas } from '../volume/queries.ts';
import type { NodeName, NodeView, Volume } from '../volume/types.ts';
import type { Step } from './repair.ts';

/** The next damaged copy that is not the last one any more, or null. */
export function damageStep(volume: Volume, nodes: readonly NodeView[]): Step | null {
  if (volume.tail.phase !== 'idle' && volume.tail.phase !== 'open') return null;
  const alive = (node: NodeName) => nodes.some((n) => n.name === node && n.lease !== null);
  for (const layer of volume.chain) {
    if (!soundReplicas(layer).some((r) => alive(r.node))) continue;
    const damaged = cleanReplicas(layer).find((r) => r.damage !== undefined);
    if (damaged === undefined) continue;
    return {
      text: `the damaged copy of layer ${layer.epoch} on ${damaged.node} is taken out of use`,
      apply: (v) => withdrawDamaged(v, layer.id, damaged, alive),
    };
  }
  return null;
}
