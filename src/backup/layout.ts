/** The names of a repository's objects. docs/design/backup.md shows the whole of it. */
import { HyperscaleError } from '../errors.ts';
import { namePattern } from '../volume/names.ts';
import type { Ref } from './refs.ts';

export const repositoryFile = 'repository.json';
export const backupsFolder = 'backups/';
/** Each has a folder for each volume. */
export const topFolders = [backupsFolder, 'data/', 'pins/', 'damage/'];

/** What `volume` must look like: the id or a name of a volume. */
const volumePattern = new RegExp(namePattern);
const idPattern = /^[0-9a-f]{32}$/;

export const folders = {
  /** Manifests, one a backup, written last. */
  backups: (volume: string) => `${backupsFolder}${volume}/`,
  /** What is being written or read, and must not be cleared away. */
  pins: (volume: string) => `pins/${volume}/`,
  data: (volume: string) => `data/${volume}/`,
  session: (volume: string, session: string) => `data/${volume}/${session}/`,
  damage: (volume: string) => `damage/${volume}/`,
};

/** An object of a volume's content or index: below the session that wrote it, under its digest. */
export function dataName(volume: string, { session, digest }: Ref): string {
  // One more folder, so that none has more than some million entries.
  return `${folders.session(volume, session)}${digest.slice(0, 1)}/${digest}`;
}

/** The mark that an object was found bad. */
export function damageName(volume: string, { session, digest }: Ref): string {
  return `${folders.damage(volume)}${session}.${digest}`;
}

/** The session and digest of `damageName`, or undefined for other names. */
export function parseDamageName(name: string): { session: string; digest: string } | undefined {
  const [, session, digest] = /\/([0-9a-f]{32})\.([0-9a-f]{64})$/.exec(name) ?? [];
  return session === undefined || digest === undefined ? undefined : { session, digest };
}

/** A new id for a backup or a session: sorts by the time it was made (UUID version 7). */
export function newId(nowMs: number, random: Uint8Array): string {
  const time = Math.floor(nowMs).toString(16).padStart(12, '0').slice(-12);
  const rest = Buffer.from(random).toString('hex').slice(0, 20);
  return `${time}${rest}`;
}

/** When an id was made, ms since 1970. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 12), 16);
}

export function isId(text: string): boolean {
  return idPattern.test(text);
}

/** @throws `bad-input` for what cannot be a volume, or a name of one. */
export function checkName(field: string, text: string): void {
  if (typeof text === 'string' && text.length <= 63 && volumePattern.test(text)) return;
  const shown = JSON.stringify(String(text).slice(0, 100));
  throw new HyperscaleError('bad-input', `${field} ${shown} is not a valid name`, {
    hint: 'A name has 1 to 63 characters: letters, digits, ".", "_" and "-", the first a letter or digit.',
    values: { field },
  });
}

/** @throws `bad-input` for what cannot be the id of a backup. */
export function checkId(text: string): void {
  if (typeof text === 'string' && isId(text)) return;
  const shown = JSON.stringify(String(text).slice(0, 100));
  throw new HyperscaleError('bad-input', `${shown} is not the id of a backup`, {
    hint: 'List the backups; an id has 32 hexadecimal digits.',
  });
}
