/** A backup as lists show it. All of it is in its manifest's name, so a list reads no object. */
import { checkName, folders, isId } from './layout.ts';

export type BackupEntry = {
  /** The volume's id (or name): under it the volume's backups lie. */
  volume: string;
  /** 32 hexadecimal digits, unique in the repository; sorts by when it was written. */
  id: string;
  /** The point in time that it holds, ms since 1970. */
  at: number;
  /** Of the volume at that time. */
  sizeBytes: number;
  /** That this backup added to the repository. */
  storedBytes: number;
  /** Chosen by whoever made it; need not be unique. */
  name: string;
  /** The volume's name at that time. */
  volumeName: string;
};

const separator = '~';
/** Until the year 5138. */
export const maxTimeMs = 99_999_999_999_999;
const timeDigits = 14;

/** The name of a backup's manifest. */
export function manifestName(entry: BackupEntry): string {
  const { at, id, name, sizeBytes, storedBytes, volume, volumeName } = entry;
  const time = String(at).padStart(timeDigits, '0');
  const parts = [time, id, sizeBytes, storedBytes, name, volumeName];
  return `${folders.backups(volume)}${parts.join(separator)}`;
}

/** The backup with such a manifest; undefined when no backup has such a name. */
export function parseManifestName(path: string): BackupEntry | undefined {
  const [top, volume, file, ...deeper] = path.split('/');
  if (top !== 'backups' || volume === undefined || file === undefined || deeper.length > 0) {
    return undefined;
  }
  const [time = '', id = '', size = '', stored = '', name = '', volumeName = '', ...more] =
    file.split(separator);
  const entry = {
    ...{ volume, id, name, volumeName, at: Number(time) },
    ...{ sizeBytes: Number(size), storedBytes: Number(stored) },
  };
  const { at, sizeBytes, storedBytes } = entry;
  const counts = [at, sizeBytes, storedBytes];
  const areCounts = counts.every((count) => Number.isSafeInteger(count) && count >= 0);
  if (!areCounts || sizeBytes === 0 || more.length > 0 || !isId(id)) return undefined;
  try {
    for (const text of [volume, name, volumeName]) checkName('name', text);
  } catch {
    return undefined;
  }
  // One backup, one name: no leading zeros, signs or exponents.
  return manifestName(entry) === path ? entry : undefined;
}

/** By volume, then by time; two of the same time in the order in which they were written. */
export function compareEntries(a: BackupEntry, b: BackupEntry): number {
  return compare(a.volume, b.volume) || a.at - b.at || compare(a.id, b.id);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
