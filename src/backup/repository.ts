/** A backup repository: backups of volumes in a target. docs/design/backup.md explains it. */
import { randomBytes } from 'node:crypto';
import { HyperscaleError } from '../errors.ts';
import { type BackupEntry, compareEntries, manifestName } from './entry.ts';
import { Keys } from './keys.ts';
import { checkId, checkName, newId, timeOfId, topFolders } from './layout.ts';
import { Objects } from './objects.ts';
import { dropPin, findPins, HeldPin } from './pins.ts';
import { BackupReader } from './reader.ts';
import type { Manifest, Pin } from './records.ts';
import { readRepositoryFile, unlock, writeRepositoryFile } from './repository-file.ts';
import { checkChunkBytes, defaultChunkBytes, shapeOf } from './shape.ts';
import { minAgeWhereLateMs, type SweepOptions, type SweepReport, sweepVolume } from './sweep.ts';
import type { Target } from './target.ts';
import { type VerifyOptions, type VerifyReport, verifyBackups } from './verify.ts';
import { type BackupSource, type WriteOptions, type Written, writeBackup } from './write.ts';

/** A backup that was begun and not finished. */
export type Unfinished = {
  volume: string;
  session: string;
  name: string;
  at: number;
  sizeBytes: number;
  parent: string | null;
  /** When it was last known to be worked on, ms since 1970. */
  seenAt: number;
};

/**
 * Makes a repository in an empty target; `key` is what the operator's key file holds, and without
 * one nothing is encrypted.
 * @throws `exists` when there is one, `bad-input` for a key or chunk size that cannot be.
 */
export async function createRepository(
  target: Target,
  options: { key?: Buffer; chunkBytes?: number } = {},
): Promise<Repository> {
  const chunkBytes = options.chunkBytes ?? defaultChunkBytes;
  checkChunkBytes(chunkBytes);
  const salt = options.key === undefined ? null : randomBytes(16);
  const keys =
    options.key === undefined || salt === null ? null : await Keys.derive(options.key, salt);
  const parts = { id: newId(Date.now(), randomBytes(10)), chunkBytes };
  const file = await writeRepositoryFile(
    target,
    { ...parts, salt: salt?.toString('hex') ?? null },
    keys,
  );
  return new Repository(target, file.id, file.chunkBytes, keys);
}

/**
 * Opens a repository.
 * @throws `not-found` when there is none, `bad-input` when the key is wrong, missing or not wanted.
 */
export async function openRepository(target: Target, key?: Buffer): Promise<Repository> {
  const file = await readRepositoryFile(target);
  const keys = await unlock(file, key, target.description);
  return new Repository(target, file.id, file.chunkBytes, keys);
}

export class Repository {
  readonly id: string;
  readonly chunkBytes: number;
  readonly encrypted: boolean;
  /** Ms after which a backup can be removed: 0, or an hour where other hosts may see it late. */
  readonly removableAfterMs: number;
  readonly #target: Target;
  readonly #objects: Objects;

  /** Only for `createRepository` and `openRepository`. */
  constructor(target: Target, id: string, chunkBytes: number, keys: Keys | null) {
    this.id = id;
    this.chunkBytes = chunkBytes;
    this.encrypted = keys !== null;
    this.removableAfterMs = target.listingLagMs > 0 ? minAgeWhereLateMs : 0;
    this.#target = target;
    this.#objects = new Objects(target, keys);
  }

  /**
   * Looks whether it is there still: what was mounted may not be any more, and would look empty.
   * @throws `not-found`, `conflict` when another repository is in its place.
   */
  async check(): Promise<void> {
    const { id } = await readRepositoryFile(this.#target);
    if (id === this.id) return;
    throw new HyperscaleError(
      'conflict',
      `${this.#target.description} has another repository now`,
      {
        hint: 'Try again in some minutes, if that is right.',
        values: { was: this.id, is: id },
      },
    );
  }

  /** Backups of one volume, or of all, by volume and time. Reads names only. */
  async list(options: { volume?: string; signal?: AbortSignal } = {}): Promise<BackupEntry[]> {
    const { signal, volume } = options;
    if (volume !== undefined) checkName('volume', volume);
    const entries: BackupEntry[] = [];
    for await (const entry of this.#objects.entries(volume, signal)) entries.push(entry);
    return entries.sort(compareEntries);
  }

  /** Volumes that take space: with backups, or with what a sweep would delete. */
  async volumes(signal?: AbortSignal): Promise<string[]> {
    const found = new Set<string>();
    for (const folder of topFolders) {
      for await (const volume of this.#target.folders(folder, signal)) found.add(volume);
    }
    return [...found].sort();
  }

  /** What is known of one backup. @throws `not-found`, `damaged`. */
  async show(volume: string, id: string): Promise<Manifest> {
    return await this.#objects.manifest(await this.#find(volume, id));
  }

  /** Writes a backup, or continues one that was interrupted. */
  async write(source: BackupSource, options: WriteOptions = {}): Promise<Written> {
    return await writeBackup(this.#objects, this.chunkBytes, source, options);
  }

  /**
   * Opens a backup to read it. With `hold` it stays readable until `close`, even if it is removed
   * meanwhile: for whatever takes longer than a moment.
   * @throws `not-found`, `damaged` when nothing of it can be restored.
   */
  async open(volume: string, id: string, options: { hold?: boolean } = {}): Promise<BackupReader> {
    const entry = await this.#find(volume, id);
    const manifest = await this.#objects.manifest(entry);
    const shape = shapeOf(entry.sizeBytes, this.chunkBytes);
    const pin = options.hold === true ? await this.#hold(manifest) : null;
    try {
      const root = await this.#objects.root(volume, shape, manifest.root);
      return new BackupReader(this.#objects, shape, manifest, root, pin);
    } catch (error) {
      await pin?.release();
      throw error;
    }
  }

  /**
   * Verifies backups of a volume: those with the ids, or all.
   * @throws `not-found` when there is none with one of the ids.
   */
  async verify(
    volume: string,
    ids: readonly string[] | null,
    options: VerifyOptions,
  ): Promise<VerifyReport> {
    const all = await this.list({ volume });
    const chosen = ids === null ? all : ids.map((id) => pick(all, volume, id));
    return await verifyBackups(this.#objects, this.chunkBytes, volume, chosen, options);
  }

  /**
   * Removes backups at once; others that build on them lose nothing. Their space is free after the
   * next sweep. It is no error when one is gone already.
   * @throws `in-use`, with nothing removed, for one that is less than an hour old, in a directory
   * that other hosts may see late.
   */
  async remove(volume: string, ids: readonly string[]): Promise<number> {
    const wanted = new Set(ids);
    for (const id of wanted) checkId(id);
    let removed = 0;
    const entries = (await this.list({ volume })).filter(({ id }) => wanted.has(id));
    checkAge(entries, this.removableAfterMs);
    for (const entry of entries) {
      await this.#target.delete(manifestName(entry));
      removed += 1;
    }
    await this.#target.flush();
    return removed;
  }

  /** Frees what no backup of the volume needs. Safe beside anything else, on any host. */
  async sweep(volume: string, options: SweepOptions = {}): Promise<SweepReport> {
    checkName('volume', volume);
    return await sweepVolume(this.#objects, this.chunkBytes, volume, options);
  }

  /** Backups of a volume that were begun and not finished; `write` continues them. */
  async unfinished(volume: string): Promise<Unfinished[]> {
    checkName('volume', volume);
    const found = await findPins(this.#objects, volume);
    return found.flatMap(({ pin, renewedAt, session }) => {
      if (pin?.use !== 'write') return [];
      const { at, name, parent, sizeBytes } = pin;
      return [{ volume, session, name, at, sizeBytes, parent, seenAt: renewedAt }];
    });
  }

  /**
   * Gives up an unfinished backup, or the pin of a reader that was killed; what only it needed goes
   * with the next sweep.
   */
  async discard(volume: string, session: string): Promise<void> {
    checkName('volume', volume);
    checkId(session);
    await dropPin(this.#objects, volume, session);
  }

  close(): void {
    this.#target.close();
  }

  async #find(volume: string, id: string): Promise<BackupEntry> {
    return pick(await this.list({ volume }), volume, id);
  }

  /** A pin on what is read; it was there before the manifest was seen, so no sweep overlooks it. */
  async #hold({ entry, root }: Manifest): Promise<HeldPin> {
    const { at, id, name, sizeBytes, volume } = entry;
    const pin: Pin = {
      ...{ use: 'read', name, at, sizeBytes, since: Date.now(), parent: id },
      ...{ root, rootSizeBytes: sizeBytes },
    };
    const held = await HeldPin.put(this.#objects, volume, pin);
    if ((await this.#target.size(manifestName(entry))) !== null) return held;
    await held.release();
    throw notFound(volume, id);
  }
}

/** See `minAgeWhereLateMs`. */
function checkAge(entries: readonly BackupEntry[], ageMs: number): void {
  if (ageMs === 0) return;
  const young = entries.find(({ id }) => Date.now() - timeOfId(id) < ageMs);
  if (young === undefined) return;
  throw new HyperscaleError('in-use', `backup ${young.id} is too young to be removed`, {
    hint: 'Other hosts may not see it yet, because of how this target is mounted. Try again in an hour.',
    values: { volume: young.volume, backup: young.id },
  });
}

function pick(entries: readonly BackupEntry[], volume: string, id: string): BackupEntry {
  checkId(id);
  const entry = entries.find((one) => one.id === id);
  if (entry === undefined) throw notFound(volume, id);
  return entry;
}

function notFound(volume: string, id: string): HyperscaleError {
  return new HyperscaleError('not-found', `volume ${volume} has no backup ${id}`, {
    hint: 'List the backups of the volume.',
    values: { volume, backup: id },
  });
}
