/**
 * Flatten: everything that a clone shows of other records is merged into one layer of its own, under
 * its chain, and the clone goes on from nobody any more. It is a merge (merge.ts) whose inputs belong
 * to other records; it is built on one node, which first gets copies of them all.
 */

import { HyperscaleError } from '../errors.ts';
import { withState } from './copies.ts';
import { clonesOf, episodesOf, snapshotsOf, withMarks } from './marks.ts';
import { abandonMerge } from './merge.ts';
import { cleanReplicas, isDeletable } from './queries.ts';
import { refuse } from './refuse.ts';
import type { LayerId, NodeName, PoolId, SealedLayer, Volume } from './types.ts';

/** The epoch that a clone keeps free for the layer that a flatten makes. */
export const flattenedEpoch = 1;

/**
 * Wishes for a flatten, on a node. One that is no clone has nothing to be flattened.
 * @throws `in-use` when clones go on from it: they read through it.
 */
export function wishFlatten(volume: Volume, node: NodeName): Volume {
  if (volume.parent === undefined || volume.flatten === node) return volume;
  if (volume.tail.phase === 'deleting') refuse(volume, 'flatten', 'it is being deleted');
  const clones = clonesOf(volume);
  if (clones.length > 0) {
    throw new HyperscaleError(
      'in-use',
      `volume ${volume.name} has ${clones.length} clones, which read through it`,
      {
        hint: 'Flatten these first.',
        values: { volume: volume.id, clones: clones.map((c) => c.volume) },
      },
    );
  }
  const settled = volume.merge?.below === true ? abandonMerge(volume, volume.merge.into) : volume;
  return { ...settled, flatten: node };
}

/** Takes the wish back; what was built is deleted. */
export function cancelFlatten(volume: Volume): Volume {
  if (volume.flatten === undefined) return volume;
  const { merge } = volume;
  const { flatten: _, ...rest } = merge?.below === true ? abandonMerge(volume, merge.into) : volume;
  return rest;
}

/** Begins to merge what is below on the node of the wish, which has sound copies of all of it. */
export function beginFlatten(
  volume: Volume,
  into: LayerId,
  builder: { node: NodeName; pool: PoolId },
): Volume {
  if (volume.merge !== null) refuse(volume, 'flatten', 'another merge is under way');
  if (volume.parent === undefined || volume.flatten !== builder.node) {
    refuse(volume, 'flatten', `it is not wished for on ${builder.node}`);
  }
  return {
    ...volume,
    merge: {
      layers: [],
      below: true,
      into,
      builder: builder.node,
      manifest: null,
      bytes: null,
      replicas: [{ ...builder, state: 'copying' }],
    },
  };
}

/**
 * The new layer takes the place of the parent. The parent keeps its note of the clone until no head
 * can have its layers open any more.
 */
export function completeFlatten(volume: Volume): Volume {
  const { merge, parent } = volume;
  if (merge?.below !== true || parent === undefined) {
    return refuse(volume, 'flatten', 'none is under way');
  }
  if (merge.manifest === null || cleanReplicas(merge).length < merge.replicas.length) {
    refuse(volume, 'flatten', 'its copies are not ready');
  }
  const layer: SealedLayer = {
    id: merge.into,
    epoch: flattenedEpoch,
    sizeBytes: parent.sizeBytes,
    manifest: merge.manifest,
    bytes: merge.bytes,
    authority: merge.builder,
    replicas: withState(merge.replicas, merge.builder, 'clean'),
  };
  const { parent: _, flatten: __, ...rest } = volume;
  const snapshots = snapshotsOf(volume).map((s) =>
    s.layer === null ? { ...s, layer: layer.id } : s,
  );
  const episodes = episodesOf(volume).map((e) =>
    e.layer === null ? { ...e, layer: layer.id } : e,
  );
  return withMarks(
    {
      ...rest,
      chain: [layer, ...volume.chain],
      merge: null,
      leaving: {
        volume: parent.volume,
        // A head of an epoch that is still being opened will be started without them.
        afterEpoch: volume.tail.phase === 'opening' ? volume.epoch - 1 : volume.epoch,
      },
    },
    { snapshots, episodes },
  );
}

/** True when no head can have layers open of the record that it once went on from. */
export function hasLeft(volume: Volume): boolean {
  return volume.leaving !== undefined && isDeletable(volume, volume.leaving.afterEpoch);
}

export function forgetLeaving(volume: Volume): Volume {
  if (!hasLeft(volume)) return volume;
  const { leaving: _, ...rest } = volume;
  return rest;
}
