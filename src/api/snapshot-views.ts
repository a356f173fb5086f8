import type { Lookup } from '../volume/lineage.ts';
import { calledIn, clonesOf, snapshotsOf } from '../volume/marks.ts';
import { heldBytes } from '../volume/snapshots.ts';
import type { Snapshot, Volume } from '../volume/types.ts';
import { isViewOf, viewHost } from '../volume/view.ts';
import type { SnapshotAnswer } from './snapshot-schemas.ts';

/** What the API shows of snapshots and clones. */

/** All snapshots of a volume, oldest first. */
export function snapshotViews(volume: Volume, lookup: Lookup): SnapshotAnswer[] {
  return snapshotsOf(volume).map((snapshot) => snapshotView(volume, snapshot, lookup));
}

export function snapshotView(volume: Volume, snapshot: Snapshot, lookup: Lookup): SnapshotAnswer {
  const { id, name, createdAt, sizeBytes } = snapshot;
  return {
    id,
    name,
    volume: volume.id,
    createdAt,
    sizeBytes,
    protected: snapshot.protected === true,
    group: snapshot.group ?? null,
    bytes: heldBytes(volume, snapshot),
    clones: clonesOf(volume)
      .filter((clone) => clone.layer === snapshot.layer && !isShown(clone.volume, lookup))
      .map((clone) => calledById(clone.volume, lookup)),
    attachedOn: clonesOf(volume)
      .flatMap((clone) => lookup(clone.volume) ?? [])
      .filter((view) => isViewOf(view, { volume: volume.id, snapshot: id }))
      .flatMap((view) => viewHost(view) ?? [])
      .sort(),
  };
}

/** It is no clone that people made, but what a host is shown. */
function isShown(id: string, lookup: Lookup): boolean {
  return lookup(id)?.view !== undefined;
}

/** What begins with the volume, or a snapshot of it. */
export function cloneNames(volume: Volume, lookup: Lookup): string[] {
  return clonesOf(volume)
    .filter((clone) => !isShown(clone.volume, lookup))
    .map((clone) => calledById(clone.volume, lookup))
    .sort();
}

/** What the volume was cloned from; null when it began empty. */
export function parentName(volume: Volume, lookup: Lookup): string | null {
  return volume.parent === undefined ? null : calledById(volume.parent.volume, lookup);
}

function calledById(id: string, lookup: Lookup): string {
  const record = lookup(id);
  return record === undefined || record.tail.phase === 'deleting' ? id : calledIn(record);
}
