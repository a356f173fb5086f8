import type { BackupEntry } from '../backup/entry.ts';
import { HyperscaleError } from '../errors.ts';
import { maxSizeBytes, minSizeBytes, sizeGrainBytes } from '../volume/names.ts';

/** Which backup is meant: one by its id; or the newest one of a volume, up to a time. */
export type BackupWish =
  /** The beginning of an id is enough where no other has it. */
  | { backup: string }
  /** Id or name of the volume that was backed up; `at` in ms since 1970, null: the newest. */
  | { volume: string; at: number | null };

const fewestDigits = 8;

/**
 * Finds the backup that is meant among all of a target.
 * @throws `not-found`, `bad-input` when several could be meant
 */
export function chooseBackup(
  entries: readonly BackupEntry[],
  wish: BackupWish,
  target: string,
): BackupEntry {
  return 'backup' in wish ? byId(entries, wish.backup, target) : byTime(entries, wish, target);
}

/** What a volume has that shows a backup: sizes of volumes are multiples of 4 KiB. */
export function restoredSize(backupBytes: number): number {
  const grains = Math.ceil(backupBytes / sizeGrainBytes);
  const sizeBytes = Math.max(grains * sizeGrainBytes, minSizeBytes);
  if (sizeBytes <= maxSizeBytes) return sizeBytes;
  throw new HyperscaleError('bad-input', `a backup of ${backupBytes} bytes fits into no volume`, {
    hint: `Volumes have at most ${maxSizeBytes} bytes.`,
    values: { backupBytes },
  });
}

function byId(entries: readonly BackupEntry[], id: string, target: string): BackupEntry {
  const short = id.length < fewestDigits;
  const found = entries.filter((e) => e.id === id || (!short && e.id.startsWith(id)));
  const [only, ...more] = found;
  if (only === undefined) {
    throw new HyperscaleError('not-found', `there is no backup ${id} in target ${target}`, {
      hint: `List them with: hscli backup list --target ${target}`,
      values: { target, backup: id },
    });
  }
  if (more.length === 0) return only;
  throw new HyperscaleError('bad-input', `${found.length} backups in ${target} begin with ${id}`, {
    hint: `Give more of the id: ${found
      .slice(0, 5)
      .map((e) => e.id)
      .join(', ')}.`,
    values: { target, backup: id },
  });
}

function byTime(
  entries: readonly BackupEntry[],
  { volume, at }: { volume: string; at: number | null },
  target: string,
): BackupEntry {
  const byVolume = entries.filter((e) => e.volume === volume);
  // A name may have been that of several volumes, one after the other.
  const named = byVolume.length > 0 ? byVolume : entries.filter((e) => e.volumeName === volume);
  const volumes = [...new Set(named.map((e) => e.volume))];
  if (volumes.length > 1) {
    throw new HyperscaleError(
      'bad-input',
      `${volumes.length} volumes of the name ${volume} have backups in target ${target}`,
      {
        hint: `Give the id of one: ${volumes.slice(0, 5).join(', ')}.`,
        values: { target, volume },
      },
    );
  }
  const rising = named.toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  const newest = rising.findLast((e) => at === null || e.at <= at);
  if (newest !== undefined) return newest;
  const [oldest] = rising;
  throw new HyperscaleError(
    'not-found',
    oldest === undefined || at === null
      ? `volume ${volume} has no backup in target ${target}`
      : `volume ${volume} has no backup in target ${target} of ${new Date(at).toISOString()} or before`,
    {
      hint:
        oldest === undefined
          ? `List what there is with: hscli backup list --target ${target}`
          : `Its first one is of ${new Date(oldest.at).toISOString()}.`,
      values: { target, volume, at },
    },
  );
}
