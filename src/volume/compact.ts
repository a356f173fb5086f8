/**
 * Compact: every layer that was sealed when it was asked for, and that no clone sees, is written anew
 * without what newer ones hide and without what was discarded within it. It is a merge (merge.ts) of each
 * run that may be merged, also of one that has a single layer.
 */

import { mergeableRuns } from './marks.ts';
import { abandonMerge, beginMerge } from './merge.ts';
import { refuse } from './refuse.ts';
import type { LayerId, NodeName, PoolId, SealedLayer, Volume } from './types.ts';

/** Wishes that all that is sealed now is compacted. Again: also what was sealed since. */
export function wishCompact(volume: Volume): Volume {
  if (volume.tail.phase === 'deleting') refuse(volume, 'compact', 'it is being deleted');
  if (volume.importing !== undefined) refuse(volume, 'compact', 'it is being imported');
  const upTo = volume.chain.at(-1)?.epoch ?? 0;
  if (upTo === 0 || volume.compact?.upTo === upTo) return volume;
  return { ...volume, compact: { upTo, done: volume.compact?.done ?? [] } };
}

/** Takes the wish back; what is being built is deleted, what is done stays. */
export function cancelCompact(volume: Volume): Volume {
  const { merge, compact } = volume;
  if (compact === undefined) return volume;
  const { compact: _, ...rest } =
    merge?.rewrite === true ? abandonMerge(volume, merge.into) : volume;
  return rest;
}

/** What is still to be written anew, each run into one layer; oldest first. */
export function runsToCompact(volume: Volume): SealedLayer[][] {
  const { compact } = volume;
  if (compact === undefined) return [];
  return mergeableRuns(volume)
    .map((run) => run.filter((l) => l.epoch <= compact.upTo))
    .filter((run) => run.some((l) => !compact.done.includes(l.id)));
}

/** Begins to write a run anew on a node that holds sound copies of all of it. */
export function beginCompact(
  volume: Volume,
  layers: readonly LayerId[],
  into: LayerId,
  builder: { node: NodeName; pool: PoolId },
): Volume {
  if (volume.compact === undefined) refuse(volume, 'compact', 'nobody wishes for it any more');
  return beginMerge(volume, layers, into, builder, 'rewrite');
}

/** Forgets the wish when there is nothing left to do. */
export function endCompact(volume: Volume): Volume {
  if (volume.compact === undefined || runsToCompact(volume).length > 0) return volume;
  const { compact: _, ...rest } = volume;
  return rest;
}
