/**
 * Proves that backups can be restored, or says which parts of which backups cannot. Every object is
 * looked at once, however many backups have it; only when something is bad are the backups gone
 * through again, to see what it touches.
 */
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type BackupEntry, compareEntries } from './entry.ts';
import { dataName } from './layout.ts';
import { Marks, markBad, unmark } from './marks.ts';
import type { Objects } from './objects.ts';
import { Pace } from './pace.ts';
import { forEachParallel } from './parallel.ts';
import { RefMap } from './ref-set.ts';
import { pageChunks, type Ref } from './refs.ts';
import { chunkRange, pageLength, type Shape, shapeOf } from './shape.ts';
import { StoredSizes } from './stored-sizes.ts';
import { type DamagedBackup, touchedBy } from './verify-damage.ts';

export type VerifyMode =
  /** Reads the index; all chunks must be there with the right length. */
  | 'quick'
  /** Reads, opens and hashes every chunk. */
  | 'full';

export type VerifyProgress = {
  doneBackups: number;
  totalBackups: number;
  /** Looked at so far, and bytes read for it. */
  objects: number;
  bytes: number;
};

export type VerifyOptions = {
  mode: VerifyMode;
  signal?: AbortSignal;
  /** Called after each backup, each page and some chunks. */
  progress?: (progress: VerifyProgress) => void | Promise<void>;
  /** Stored bytes to read in a second. */
  bytesPerSecond?: number;
  /** Objects read at once; default 8. */
  width?: number;
};

export type VerifyReport = {
  backups: number;
  objects: number;
  bytes: number;
  bad: { name: string; reason: string }[];
  /** Empty when all is well. */
  damaged: DamagedBackup[];
};

/** More damage is not told apart: then it is the target that is gone. */
const maxBad = 100_000;
const defaultWidth = 8;
const reportEvery = 64;

/**
 * Verifies backups of one volume, and marks what is bad so that the next backup stores it anew.
 * @throws `conflict` when a backup is removed meanwhile.
 */
export async function verifyBackups(
  objects: Objects,
  chunkBytes: number,
  volume: string,
  backups: readonly BackupEntry[],
  options: VerifyOptions,
): Promise<VerifyReport> {
  const marks = await Marks.read(objects.target, volume, options.signal);
  const run = new Verification(objects, volume, marks, backups.length, options);
  const entries = backups.toSorted(compareEntries);
  for (const entry of entries) await run.backup(entry, chunkBytes);
  const { bad, lostManifests } = run;
  const found = { objects, chunkBytes, entries, bad, lostManifests };
  const isDamaged = bad.size > 0 || lostManifests.size > 0;
  const { doneBackups, ...counts } = run.counts;
  return {
    ...{ backups: doneBackups, objects: counts.objects, bytes: counts.bytes },
    bad: [...bad].map(([name, reason]) => ({ name, reason })),
    damaged: isDamaged ? await touchedBy(found, options.signal) : [],
  };
}

class Verification {
  /** Names of objects, and what is wrong with them. */
  readonly bad = new Map<string, string>();
  /** Ids of backups whose manifests cannot be read. */
  readonly lostManifests = new Map<string, string>();
  readonly counts: VerifyProgress;
  readonly #objects: Objects;
  readonly #volume: string;
  readonly #options: VerifyOptions;
  readonly #width: number;
  readonly #marks: Marks;
  readonly #pace: Pace;
  /** The lengths of content that objects were proven to have. */
  readonly #seen = new RefMap<number>();
  readonly #sizes: StoredSizes;

  constructor(
    objects: Objects,
    volume: string,
    marks: Marks,
    totalBackups: number,
    options: VerifyOptions,
  ) {
    this.#objects = objects;
    this.#volume = volume;
    this.#options = options;
    this.#width = options.width ?? defaultWidth;
    this.#marks = marks;
    this.#pace = new Pace(options.bytesPerSecond);
    this.#sizes = new StoredSizes(objects.target, volume, options.signal);
    this.counts = { doneBackups: 0, totalBackups, objects: 0, bytes: 0 };
  }

  async backup(entry: BackupEntry, chunkBytes: number): Promise<void> {
    const before = this.bad.size;
    try {
      const manifest = await this.#objects.manifest(entry, this.#options.signal);
      await this.#tree(shapeOf(entry.sizeBytes, chunkBytes), manifest.root);
      this.counts.doneBackups += 1;
    } catch (error) {
      // Bad input is a size that no backup here can have.
      const isLost = isHyperscaleError(error, 'damaged', 'bad-input');
      if (isLost) this.lostManifests.set(entry.id, error.message);
      else if (!isHyperscaleError(error, 'not-found')) throw error;
      else this.counts.totalBackups -= 1;
    }
    if (this.bad.size > before) await this.#checkThere(entry);
    await this.#options.progress?.({ ...this.counts });
  }

  /** What was removed meanwhile may have been swept away, which is no damage. */
  async #checkThere({ id, volume }: BackupEntry): Promise<void> {
    for await (const entry of this.#objects.entries(volume)) if (entry.id === id) return;
    throw new HyperscaleError('conflict', `backup ${id} was removed while it was verified`, {
      hint: 'Verify again.',
    });
  }

  async #tree(shape: Shape, rootRef: Ref | null): Promise<void> {
    if (rootRef === null) return;
    const { signal } = this.#options;
    const root = await this.#look(rootRef, () =>
      this.#objects.root(this.#volume, shape, rootRef, signal),
    );
    if (root === null) return;
    for (let number = 0; number < shape.pages; number += 1) {
      const ref = root.get(number);
      if (ref === null || !this.#isNew(ref, pageLength(shape, number))) continue;
      const page = await this.#look(ref, () =>
        this.#objects.page(this.#volume, shape, number, ref, signal),
      );
      const places = Array.from({ length: page?.length ?? 0 }, (_, place) => place);
      await forEachParallel(places, this.#width, async (place) => {
        const chunk = page?.get(place) ?? null;
        const { length } = chunkRange(shape, number * pageChunks + place);
        if (chunk !== null && this.#isNew(chunk, length)) await this.#chunk(chunk, length);
      });
    }
  }

  async #chunk(ref: Ref, length: number): Promise<void> {
    if (this.#options.mode === 'full') {
      const { signal } = this.#options;
      await this.#look(ref, () => this.#objects.read(this.#volume, 'chunk', ref, length, signal));
      return;
    }
    await this.#count(0);
    const bytes = await this.#sizes.of(ref);
    if (bytes === ref.bytes) return;
    const reason = bytes === null ? 'is missing' : `has ${bytes} bytes instead of ${ref.bytes}`;
    await this.#note(ref, `${dataName(this.#volume, ref)} ${reason}`);
  }

  /** Reads one object; null, and noted, when it is damaged. */
  async #look<T>(ref: Ref, read: () => Promise<T>): Promise<T | null> {
    await this.#pace.wait(ref.bytes, this.#options.signal);
    await this.#count(ref.bytes);
    try {
      const content = await read();
      // It was restored, or the medium had only failed for a while.
      if (this.#marks.has(ref)) await unmark(this.#objects.target, this.#volume, ref);
      return content;
    } catch (error) {
      if (!isHyperscaleError(error, 'damaged')) throw error;
      await this.#note(ref, error.message);
      return null;
    }
  }

  async #count(bytes: number): Promise<void> {
    this.counts.objects += 1;
    this.counts.bytes += bytes;
    if (this.counts.objects % reportEvery === 0) await this.#options.progress?.({ ...this.counts });
  }

  async #note(ref: Ref, reason: string): Promise<void> {
    if (this.bad.size >= maxBad) {
      const text = `more than ${maxBad} objects of ${this.#volume} are bad`;
      throw new HyperscaleError('damaged', text, { hint: 'Is all of the target there?' });
    }
    this.bad.set(dataName(this.#volume, ref), reason);
    await markBad(this.#objects.target, this.#volume, ref);
  }

  /** False when an object was looked at before, as content of the same length. */
  #isNew(ref: Ref, length: number): boolean {
    if (this.#seen.get(ref) === length) return false;
    this.#seen.set(ref, length);
    return true;
  }
}
