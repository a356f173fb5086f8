/**
 * What clones mean for the copies of the layers that they share. Watches: records. Wants: copies where
 * clones are written, as many as the most demanding of them asks for, and no note of clones that are
 * gone. Does: forgets them, and deletes what only they needed.
 */
import { removeClone } from '../volume/clone.ts';
import { isUnneededBase, markDeleted } from '../volume/delete.ts';
import { type Dependant, seenBy } from '../volume/lineage.ts';
import { copiesWanted } from '../volume/policy.ts';
import { writerOf } from '../volume/queries.ts';
import type { LayerId, NodeName, Volume } from '../volume/types.ts';
import type { Step } from './repair.ts';

/**
 * Nodes where a sealed layer is read: by the writer's head, by those of clones that show it, and where
 * a clone is flattened.
 */
export function readersOf(
  volume: Volume,
  layer: LayerId,
  dependants: readonly Dependant[],
): Set<NodeName> {
  // What is only looked at is read where it is.
  const clones = seenBy(volume, layer, dependants).filter((v) => v.view === undefined);
  return new Set([
    ...[volume, ...clones].flatMap((v) => writerOf(v) ?? []),
    ...clones.flatMap((v) => v.flatten ?? []),
  ]);
}

/** How many copies of a sealed layer there should be. */
export function layerCopiesWanted(
  volume: Volume,
  layer: LayerId,
  dependants: readonly Dependant[],
): number {
  const all = [volume, ...seenBy(volume, layer, dependants)];
  return Math.max(...all.map((v) => copiesWanted(v.policy)));
}

/** What is to be cleaned up after clones, or null. `gone`: clones that go on from here no longer. */
export function sharingStep(volume: Volume, gone: readonly string[]): Step | null {
  if (isUnneededBase(volume)) {
    return { text: 'no clone needs it any more', apply: markDeleted };
  }
  const [clone] = gone;
  if (clone === undefined) return null;
  return { text: `clone ${clone} needs it no more`, apply: (v) => removeClone(v, clone) };
}
