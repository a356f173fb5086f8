/**
 * Clones: a record whose chain goes on from a layer of another one. The two records are changed in one
 * transaction, so that there is never a clone without its note in the record that it goes on from
 * (rule 4: what others see is not merged, changed or deleted).
 */
import { HyperscaleError } from '../errors.ts';
import { maxClones, maxLayersForSeal } from './bounds.ts';
import { createVolume } from './create.ts';
import { flattenedEpoch } from './flatten.ts';
import { clonesOf, loosened, placeOf, withMarks } from './marks.ts';
import { abandonMerge } from './merge.ts';
import { sealedSize } from './queries.ts';
import { refuse } from './refuse.ts';
import { findSnapshot } from './snapshots.ts';
import type { Clone, Parent, Role, Volume } from './types.ts';

/** A point of a chain that a clone may go on from; `parent` null: nothing was written up to there. */
export type ClonePoint = { parent: Parent | null; sizeBytes: number };

/**
 * The point of a snapshot, or without one of what is sealed now.
 * @param mostLayers there are to be fewer below it.
 * @throws `not-found`, `conflict` while it is not settled what is sealed, `not-allowed` when chains
 *   of clones would become too long.
 */
export function clonePoint(
  volume: Volume,
  snapshot: string | null,
  mostLayers = maxLayersForSeal,
): ClonePoint {
  const { phase } = volume.tail;
  const top = volume.chain.at(-1);
  if (snapshot === null && phase !== 'idle' && phase !== 'open') {
    refuse(volume, 'clone', `it is ${phase}`);
  }
  if (volume.importing !== undefined) refuse(volume, 'clone', 'it is being imported');
  const kept = snapshot === null ? null : findSnapshot(volume, snapshot);
  const layer = kept === null ? (top?.id ?? null) : kept.layer;
  const sizeBytes = kept?.sizeBytes ?? sealedSize(volume);
  // Without a layer of its own it shows what its parent shows: the clone goes on from there too.
  if (layer === null) return { parent: volume.parent ?? null, sizeBytes };
  const place = placeOf(volume, layer);
  const at = volume.chain[place];
  if (at === undefined) return refuse(volume, 'clone', `layer ${layer} is not sealed`);
  const layers = (volume.parent?.layers ?? 0) + place + 1;
  if (layers >= mostLayers) {
    throw new HyperscaleError(
      'not-allowed',
      `a clone of volume ${volume.name} would begin on ${layers} layers, and fewer than ${mostLayers} are allowed`,
      {
        hint: `Shorten what is below it: hscli volume flatten ${volume.name}, or delete snapshots.`,
        values: { volume: volume.id, layers, limit: mostLayers },
      },
    );
  }
  return { parent: { volume: volume.id, layer, sizeBytes: at.sizeBytes, layers }, sizeBytes };
}

/**
 * Notes a clone in the record that it goes on from. A merge of what it shall see is given up.
 * @throws `not-allowed` when there are too many, `conflict` while an earlier one of that id is noted.
 */
export function addClone(volume: Volume, clone: Clone): Volume {
  const all = clonesOf(volume);
  // One of that id was deleted, and is about to be forgotten: the note would go with it.
  if (all.some((c) => c.volume === clone.volume)) {
    refuse(volume, 'clone', `an earlier clone with id ${clone.volume} is still noted`);
  }
  if (volume.tail.phase === 'deleting') refuse(volume, 'clone', 'it is being deleted');
  if (all.length >= maxClones) {
    throw new HyperscaleError(
      'not-allowed',
      `volume ${volume.name} has ${all.length} clones, which is the most`,
      {
        hint: 'Flatten some of them, or clone a clone.',
        values: { volume: volume.id, limit: maxClones },
      },
    );
  }
  const place = placeOf(volume, clone.layer);
  if (place < 0) refuse(volume, 'clone', `layer ${clone.layer} is not sealed`);
  const { merge } = volume;
  const seen = volume.chain.slice(0, place + 1);
  const touched =
    merge !== null && (merge.below === true || seen.some((l) => merge.layers.includes(l.id)));
  // The clone shall read through this one: it is not flattened under it.
  const { flatten: _, ...settled } = touched ? abandonMerge(volume, merge.into) : volume;
  const ids = new Set(seen.map((l) => l.id));
  const loose = (volume.loose ?? []).filter((id) => !ids.has(id));
  return withMarks(settled, { clones: [...all, clone], loose });
}

/** Forgets a clone that goes on from here no longer. One that is not noted is fine. */
export function removeClone(volume: Volume, clone: string): Volume {
  const gone = clonesOf(volume).find((c) => c.volume === clone);
  if (gone === undefined) return volume;
  const left = withMarks(volume, { clones: clonesOf(volume).filter((c) => c !== gone) });
  return loosened(left, gone.layer);
}

/**
 * A new record whose chain goes on from a point.
 * @throws `bad-input` when it is to be smaller than what it shows.
 */
export function createClone(
  point: ClonePoint,
  request: Parameters<typeof createVolume>[0] & { role?: Role },
): Volume {
  const { role, ...wanted } = request;
  if (wanted.sizeBytes < point.sizeBytes) {
    throw new HyperscaleError(
      'bad-input',
      `size ${wanted.sizeBytes} is less than the ${point.sizeBytes} bytes of what is cloned`,
      {
        hint: 'Leave the size out to have the same, or give a larger one.',
        values: { sizeBytes: wanted.sizeBytes, smallest: point.sizeBytes },
      },
    );
  }
  const volume = createVolume(wanted);
  return {
    ...volume,
    // It stays free for the layer that all below is merged into by a flatten.
    epoch: flattenedEpoch,
    ...(point.parent === null ? {} : { parent: point.parent }),
    ...(role === undefined ? {} : { role }),
  };
}
