/**
 * Merge of adjacent sealed layers into one. The builder makes a new file, others copy it, and one
 * swap exchanges it for the old layers: what is sealed never changes (rules 4, 16).
 */

import { withState } from './copies.ts';
import { soundReplicas } from './damage.ts';
import { episodesOf, loosened, mergeableRuns, snapshotsOf, withMarks } from './marks.ts';
import { copiesWanted } from './policy.ts';
import { cleanReplicas, mergedEpoch, replicaOn } from './queries.ts';
import { refuse } from './refuse.ts';
import type { Garbage, LayerId, Merge, NodeName, PoolId, Volume } from './types.ts';

/**
 * Begins to merge `layers` (adjacent, oldest first) on a node that holds clean copies of all.
 * @param how `rewrite` as part of a compact, which writes one layer anew too.
 */
export function beginMerge(
  volume: Volume,
  layers: readonly LayerId[],
  into: LayerId,
  builder: { node: NodeName; pool: PoolId },
  how: 'shorten' | 'rewrite' = 'shorten',
): Volume {
  if (volume.merge !== null) refuse(volume, 'merge', 'another merge is under way');
  if (volume.tail.phase === 'deleting') refuse(volume, 'merge', 'it is being deleted');
  const first = volume.chain.findIndex((l) => l.id === layers[0]);
  const run = first < 0 ? [] : volume.chain.slice(first, first + layers.length);
  const least = how === 'rewrite' ? 1 : 2;
  if (run.length < least || run.some((l, i) => l.id !== layers[i])) {
    refuse(volume, 'merge', 'the layers are not adjacent');
  }
  if (!mergeableRuns(volume).some((r) => run.every((l) => r.includes(l)))) {
    refuse(volume, 'merge', 'a snapshot or a clone needs one of the layers as it is');
  }
  for (const layer of run) {
    if (!soundReplicas(layer).some((r) => r.node === builder.node)) {
      refuse(volume, 'merge', `${builder.node} has no clean copy of layer ${layer.epoch}`);
    }
  }
  return {
    ...volume,
    merge: {
      layers: [...layers],
      ...(how === 'rewrite' ? { rewrite: true as const } : {}),
      into,
      builder: builder.node,
      manifest: null,
      bytes: null,
      replicas: [{ ...builder, state: 'copying' }],
    },
  };
}

/**
 * True while the builder holds sound copies of all that it merges: repair may have moved one, or it
 * was found damaged, and what is wrong in it must not become right by being merged.
 */
export function hasInputs(volume: Volume, merge: Merge): boolean {
  return volume.chain
    .filter((l) => merge.layers.includes(l.id))
    .every((l) => soundReplicas(l).some((r) => r.node === merge.builder));
}

/** The builder's file is durable and hashed; `targets` now copy it. */
export function recordMergeBuilt(
  volume: Volume,
  into: LayerId,
  proof: { root: string; bytes: number },
  targets: readonly { node: NodeName; pool: PoolId }[],
): Volume {
  const merge = theMerge(volume, into);
  if (merge.manifest !== null) refuse(volume, 'merge', 'it is built already');
  return {
    ...volume,
    merge: {
      ...merge,
      manifest: proof.root,
      bytes: proof.bytes,
      replicas: [
        ...withState(merge.replicas, merge.builder, 'clean'),
        ...targets.map((t) => ({ ...t, state: 'copying' as const })),
      ],
    },
  };
}

/** A target holds the same, proven against the manifest and on stable storage. */
export function markMergeClean(volume: Volume, into: LayerId, node: NodeName): Volume {
  const merge = theMerge(volume, into);
  if (merge.manifest === null || replicaOn(merge, node) === undefined) {
    refuse(volume, 'merge', `${node} has no part in it`);
  }
  return { ...volume, merge: { ...merge, replicas: withState(merge.replicas, node, 'clean') } };
}

/** Exchanges the merged layers for the new one, when as many clean copies of it exist. */
export function completeMerge(volume: Volume, into: LayerId): Volume {
  const merge = theMerge(volume, into);
  const run = volume.chain.filter((l) => merge.layers.includes(l.id));
  const top = run.at(-1);
  const clean = cleanReplicas(merge).length;
  const needed = Math.min(copiesWanted(volume.policy), ...run.map((l) => cleanReplicas(l).length));
  if (merge.manifest === null || top === undefined || clean < needed) {
    refuse(volume, 'merge', `${clean} of ${needed} copies are ready`);
  }
  const merged = {
    id: into,
    epoch: top.epoch,
    sizeBytes: top.sizeBytes,
    manifest: merge.manifest,
    bytes: merge.bytes,
    authority: merge.builder,
    replicas: merge.replicas,
  };
  const at = volume.chain.findIndex((l) => l.id === merge.layers[0]);
  const garbage: Garbage[] = run.map((l) => ({
    layer: l.id,
    epoch: l.epoch,
    // A head of an epoch that is still being opened will be started with the merged layer.
    afterEpoch: volume.tail.phase === 'opening' ? volume.epoch - 1 : volume.epoch,
    holders: l.replicas.map(({ node, pool }) => ({ node, pool })),
  }));
  const done = {
    ...volume,
    chain: [...volume.chain.slice(0, at), merged, ...volume.chain.slice(at + run.length)],
    merge: null,
    garbage: [...volume.garbage, ...garbage],
    ...(volume.compact !== undefined && merge.rewrite === true
      ? { compact: { ...volume.compact, done: [...stillDone(volume, run), into] } }
      : {}),
  };
  const ids = new Set(run.map((l) => l.id));
  const wasLoose = volume.loose?.includes(top.id) === true;
  const marked = withMarks(done, {
    snapshots: snapshotsOf(volume).map((s) => (s.layer === top.id ? { ...s, layer: into } : s)),
    episodes: episodesOf(volume).map((e) => (e.layer === top.id ? { ...e, layer: into } : e)),
    loose: (volume.loose ?? []).filter((id) => !ids.has(id)),
  });
  return wasLoose ? loosened(marked, into) : marked;
}

/** Layers that a compact has made and that were not merged into others since. */
function stillDone({ chain, compact }: Volume, run: readonly { id: LayerId }[]): LayerId[] {
  const gone = new Set(run.map((l) => l.id));
  return (compact?.done ?? []).filter((id) => !gone.has(id) && chain.some((l) => l.id === id));
}

/** Gives up a merge; what was built of it is deleted. */
export function abandonMerge(volume: Volume, into: LayerId): Volume {
  const merge = theMerge(volume, into);
  return {
    ...volume,
    merge: null,
    garbage: [
      ...volume.garbage,
      {
        layer: into,
        epoch: mergedEpoch(volume),
        afterEpoch: 0,
        holders: merge.replicas.map(({ node, pool }) => ({ node, pool })),
      },
    ],
  };
}

function theMerge(volume: Volume, into: LayerId): Merge {
  const { merge } = volume;
  if (merge === null || merge.into !== into) {
    return refuse(volume, 'merge', `no merge into ${into} is under way`);
  }
  return merge;
}
