/**
 * Snapshots: names for points of a volume's chain. Nothing is copied; a layer that a snapshot ends at
 * is merged with older ones at most. Of an open volume the newest sealed layer is the point, so the
 * open layer is sealed first (a roll).
 */
import { HyperscaleError } from '../errors.ts';
import { maxSnapshots } from './bounds.ts';
import {
  calledIn,
  episodesOf,
  loosened,
  placeOf,
  sharedUpTo,
  snapshotsOf,
  withMarks,
} from './marks.ts';
import { abandonMerge } from './merge.ts';
import { sealedSize } from './queries.ts';
import { refuse } from './refuse.ts';
import { removed } from './seal.ts';
import type { Snapshot, Volume } from './types.ts';

/** By id or name. @throws `not-found` */
export function findSnapshot(volume: Volume, idOrName: string): Snapshot {
  const all = snapshotsOf(volume);
  const found = all.find((s) => s.name === idOrName) ?? all.find((s) => s.id === idOrName);
  if (found !== undefined) return found;
  throw new HyperscaleError(
    'not-found',
    `volume ${volume.name} has no snapshot ${JSON.stringify(idOrName)}`,
    {
      hint: `List them with: hscli snapshot list ${volume.name}`,
      values: { volume: volume.id, snapshot: idOrName },
    },
  );
}

/**
 * Keeps what is sealed now under a name. With the same id and name again it changes nothing.
 * @throws `exists`, `not-allowed` when there are too many or it is an image, `conflict` while an
 *   epoch is being begun or ended: then it is not settled what is sealed.
 */
export function addSnapshot(
  volume: Volume,
  wanted: { id: string; name: string; createdAt: string; group?: string },
): Volume {
  const { id, name, createdAt, group } = wanted;
  const all = snapshotsOf(volume);
  if (all.some((s) => s.id === id && s.name === name)) return volume;
  const { phase } = volume.tail;
  if (phase !== 'idle' && phase !== 'open') refuse(volume, 'snapshot', `it is ${phase}`);
  if (volume.importing !== undefined) refuse(volume, 'snapshot', 'it is being imported');
  if (volume.role !== undefined) {
    const what = volume.role === 'base' ? 'what is left of a deleted volume' : 'an image';
    throw new HyperscaleError('not-allowed', `${calledIn(volume)} is ${what} and never changes`, {
      hint: `Make a volume from it: hscli volume clone ${calledIn(volume)} NAME`,
      values: { volume: volume.id },
    });
  }
  const twin = all.find((s) => s.name === name || s.id === id);
  if (twin !== undefined) {
    throw new HyperscaleError('exists', `volume ${volume.name} has a snapshot ${twin.name}`, {
      hint: 'Choose another name, or delete that one.',
      values: { volume: volume.id, snapshot: twin.id },
    });
  }
  if (all.length >= maxSnapshots) {
    throw new HyperscaleError(
      'not-allowed',
      `volume ${volume.name} has ${all.length} snapshots, which is the most`,
      {
        hint: 'Delete some, or back the volume up and keep the old states there.',
        values: { volume: volume.id, limit: maxSnapshots },
      },
    );
  }
  const top = volume.chain.at(-1);
  const snapshot: Snapshot = {
    id,
    name,
    layer: top?.id ?? null,
    sizeBytes: sealedSize(volume),
    createdAt,
    ...(group === undefined ? {} : { group }),
  };
  return withMarks(volume, { snapshots: [...all, snapshot] });
}

/**
 * Forgets a snapshot; what only it needed goes with merges in the background. One that is not there
 * is fine.
 * @throws `not-allowed` when it is protected.
 */
export function removeSnapshot(volume: Volume, id: string): Volume {
  const snapshot = snapshotsOf(volume).find((s) => s.id === id);
  if (snapshot === undefined) return volume;
  if (snapshot.protected === true) {
    throw new HyperscaleError(
      'not-allowed',
      `snapshot ${snapshot.name} of volume ${volume.name} is protected`,
      {
        hint: `First: hscli snapshot unprotect ${volume.name} ${snapshot.name}`,
        values: { volume: volume.id, snapshot: id },
      },
    );
  }
  const left = withMarks(volume, { snapshots: snapshotsOf(volume).filter((s) => s !== snapshot) });
  return loosened(left, snapshot.layer);
}

/** Forgets all snapshots. @throws `not-allowed` when one is protected */
export function withoutSnapshots(volume: Volume): Volume {
  return snapshotsOf(volume).reduce((v, { id }) => removeSnapshot(v, id), volume);
}

/** @throws `not-found` */
export function protectSnapshot(volume: Volume, id: string, isProtected: boolean): Volume {
  const { protected: was, ...rest } = findSnapshot(volume, id);
  if ((was === true) === isProtected) return volume;
  const changed: Snapshot = isProtected ? { ...rest, protected: true } : rest;
  const snapshots = snapshotsOf(volume).map((s) => (s.id === rest.id ? changed : s));
  return withMarks(volume, { snapshots });
}

/**
 * Checks that nothing of a volume needs what would go if it were made what it was at a snapshot.
 * @throws `in-use` naming newer snapshots, or when it was cloned since.
 */
export function assertRevertible(volume: Volume, id: string): void {
  const snapshot = findSnapshot(volume, id);
  const place = placeOf(volume, snapshot.layer);
  const newer = snapshotsOf(volume).filter((s) => placeOf(volume, s.layer) > place);
  if (newer.length > 0) {
    const names = newer.map((s) => s.name).join(', ');
    throw new HyperscaleError('in-use', `volume ${volume.name} has newer snapshots: ${names}`, {
      hint: 'Delete them first, or clone the snapshot instead of reverting to it.',
      values: { volume: volume.id, snapshots: newer.map((s) => s.id) },
    });
  }
  if (sharedUpTo(volume) > place) {
    throw new HyperscaleError(
      'in-use',
      `volume ${volume.name} was cloned after snapshot ${snapshot.name}`,
      {
        hint: 'Flatten or delete these clones first, or clone the snapshot instead. An export that is under way is one too.',
        values: { volume: volume.id, snapshot: id },
      },
    );
  }
}

/**
 * Makes a volume that nobody uses what it was at a snapshot, which stays; its size is that one's
 * (protocol review, rule 14).
 * @throws `in-use` while it is attached, or when a newer snapshot or a clone needs what would go;
 *   `conflict` while it is not idle.
 */
export function revertTo(volume: Volume, id: string): Volume {
  const snapshot = findSnapshot(volume, id);
  const [attachment] = volume.attachments;
  if (attachment !== undefined) {
    throw new HyperscaleError('in-use', `volume ${volume.name} is attached on ${attachment.host}`, {
      hint: `Detach it first: hscli volume detach ${volume.name} --node ${attachment.host}`,
      values: { volume: volume.id },
    });
  }
  if (volume.tail.phase !== 'idle') refuse(volume, 'revert', `it is ${volume.tail.phase}`);
  assertRevertible(volume, id);
  const place = placeOf(volume, snapshot.layer);
  const { merge } = volume;
  const dropped = volume.chain.slice(place + 1);
  const touched = merge !== null && dropped.some((l) => merge.layers.includes(l.id));
  const settled = touched ? abandonMerge(volume, merge.into) : volume;
  const garbage = dropped.map((l) => removed(l, volume.epoch));
  const reverted = {
    ...settled,
    sizeBytes: snapshot.sizeBytes,
    chain: settled.chain.slice(0, place + 1),
    garbage: [...settled.garbage, ...garbage],
  };
  const loose = (volume.loose ?? []).filter(
    (id) => !dropped.some((l) => l.id === id) && id !== snapshot.layer,
  );
  // What they show is no part of the volume any more; its backups stay.
  const episodes = episodesOf(volume).filter((e) => placeOf(volume, e.layer) <= place);
  return withMarks(reverted, { loose, episodes });
}

/** Bytes of the layers that a snapshot shows and the one before it does not; null: not known yet. */
export function heldBytes(volume: Volume, snapshot: Snapshot): number | null {
  const place = placeOf(volume, snapshot.layer);
  const marked = new Set(snapshotsOf(volume).flatMap((s) => s.layer ?? []));
  // Several can end at one layer: the first of them holds it.
  const first = snapshotsOf(volume).find((s) => s.layer === snapshot.layer);
  if (first !== undefined && first.id !== snapshot.id) return 0;
  let bytes = 0;
  for (let i = place; i >= 0; i -= 1) {
    const layer = volume.chain[i];
    if (layer === undefined || (i < place && marked.has(layer.id))) break;
    if (layer.bytes === null) return null;
    bytes += layer.bytes;
  }
  return bytes;
}
