/** What snapshots and clones mean for the layers of the record that they are noted in. */
import type { Clone, Episode, LayerId, SealedLayer, Snapshot, Volume } from './types.ts';

export function snapshotsOf(volume: Volume): readonly Snapshot[] {
  return volume.snapshots ?? [];
}

export function episodesOf(volume: Volume): readonly Episode[] {
  return volume.episodes ?? [];
}

export function clonesOf(volume: Volume): readonly Clone[] {
  return volume.clones ?? [];
}

/** What a record is called in commands: a base has lost its name, which may be another one's. */
export function calledIn(volume: Volume): string {
  return volume.role === 'base' ? volume.id : volume.name;
}

/** Place in the chain of a layer, -1 for null and for one that is not there. */
export function placeOf(volume: Volume, layer: LayerId | null): number {
  return layer === null ? -1 : volume.chain.findIndex((l) => l.id === layer);
}

/** Place of the newest layer that a clone goes on from; -1 when there is none. */
export function sharedUpTo(volume: Volume): number {
  return Math.max(-1, ...clonesOf(volume).map((c) => placeOf(volume, c.layer)));
}

/** Layers that a snapshot or an episode ends at. */
export function markedLayers(volume: Volume): ReadonlySet<LayerId> {
  const marks = [...snapshotsOf(volume), ...episodesOf(volume)];
  return new Set(marks.flatMap((mark) => mark.layer ?? []));
}

/**
 * Runs of layers that may be merged, oldest first: those that clones see never are (rule 4), and a
 * snapshot or an episode ends at the last layer of a run.
 */
export function mergeableRuns(volume: Volume): SealedLayer[][] {
  const marked = markedLayers(volume);
  const runs: SealedLayer[][] = [];
  let run: SealedLayer[] = [];
  for (const layer of volume.chain.slice(sharedUpTo(volume) + 1)) {
    run.push(layer);
    if (!marked.has(layer.id)) continue;
    runs.push(run);
    run = [];
  }
  if (run.length > 0) runs.push(run);
  return runs;
}

/** By how many layers merges could shorten the chain. */
export function mergeExcess(volume: Volume): number {
  return mergeableRuns(volume).reduce((sum, run) => sum + run.length - 1, 0);
}

/** True when merges are to shorten the chain. */
export function isTooLong(volume: Volume): boolean {
  return mergeExcess(volume) >= volume.policy.maxLayers;
}

/** The record with these lists, and without those that are empty. */
export function withMarks(
  volume: Volume,
  marks: {
    snapshots?: readonly Snapshot[];
    episodes?: readonly Episode[];
    clones?: readonly Clone[];
    loose?: readonly LayerId[];
  },
): Volume {
  const { snapshots, episodes, clones, loose, ...rest } = { ...volume, ...marks };
  return {
    ...rest,
    ...(snapshots === undefined || snapshots.length === 0 ? {} : { snapshots: [...snapshots] }),
    ...(episodes === undefined || episodes.length === 0 ? {} : { episodes: [...episodes] }),
    ...(clones === undefined || clones.length === 0 ? {} : { clones: [...clones] }),
    ...(loose === undefined || loose.length === 0 ? {} : { loose: [...loose] }),
  };
}

/** Notes a layer that nothing keeps apart from the next one any more; nothing when something does. */
export function loosened(volume: Volume, layer: LayerId | null): Volume {
  const place = placeOf(volume, layer);
  const loose = volume.loose ?? [];
  const apart = place < 0 || place <= sharedUpTo(volume);
  if (layer === null || apart || markedLayers(volume).has(layer) || loose.includes(layer)) {
    return volume;
  }
  return withMarks(volume, { loose: [...loose, layer] });
}
