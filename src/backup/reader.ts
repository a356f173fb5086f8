/** Reads a backup: any part of it, or all that is not zeros in order. */
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Range } from './changed.ts';
import type { BackupEntry } from './entry.ts';
import type { Objects } from './objects.ts';
import { Pace } from './pace.ts';
import type { HeldPin } from './pins.ts';
import type { Manifest } from './records.ts';
import { pageChunks, type Ref, type RefList } from './refs.ts';
import { chunkRange, pageRange, type Shape } from './shape.ts';
import { checkCancelled } from './target.ts';

/** The longest piece that `readRange` returns at once. */
export const maxReadBytes = 64 * 2 ** 20;
/** Kept by a reader: pages (53 kB each) and contents of chunks. */
const keptPages = 64;
const keptChunkBytes = 32 * 2 ** 20;
const defaultAhead = 8;
const maxAhead = 64;
const pagesAhead = 4;

/** A part of a backup that is not zeros. Not to be changed: the reader may return it again. */
export type Piece = { offset: number; content: Buffer };

export type DamagedRange = Range & { reason: string };

export type ChunksOptions = {
  /** Begins with the chunk that holds this byte; default 0. */
  from?: number;
  signal?: AbortSignal;
  /** Content to deliver in a second. */
  bytesPerSecond?: number;
  /** Chunks that are fetched ahead; default 8. */
  ahead?: number;
  /** Called for parts that are lost, which are then left out; without it they end the reading. */
  damaged?: (range: DamagedRange) => void;
};

export class BackupReader {
  readonly manifest: Manifest;
  readonly #objects: Objects;
  readonly #shape: Shape;
  readonly #root: RefList;
  readonly #pin: HeldPin | null;
  readonly #pages: Recent<RefList>;
  readonly #chunks: Recent<Buffer>;

  constructor(
    objects: Objects,
    shape: Shape,
    manifest: Manifest,
    root: RefList,
    pin: HeldPin | null,
  ) {
    this.#objects = objects;
    this.#shape = shape;
    this.manifest = manifest;
    this.#root = root;
    this.#pin = pin;
    this.#pages = new Recent(keptPages);
    this.#chunks = new Recent(Math.max(2, Math.floor(keptChunkBytes / shape.chunkBytes)));
  }

  get entry(): BackupEntry {
    return this.manifest.entry;
  }

  /** The session of the pin that holds it, to give it up should this process be killed; or null. */
  get session(): string | null {
    return this.#pin?.session ?? null;
  }

  /**
   * Bytes of the backup.
   * @throws `bad-input` unless the range is inside it and has at most 64 MiB; `damaged`, naming the
   * backup and the range, when it cannot be restored.
   */
  async readRange(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const { chunkBytes, sizeBytes } = this.#shape;
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (!whole || offset < 0 || length < 0 || offset + length > sizeBytes) {
      const text = `${length} bytes at ${offset} are not inside the backup`;
      throw new HyperscaleError('bad-input', text, { values: { offset, length, sizeBytes } });
    }
    if (length > maxReadBytes) {
      throw new HyperscaleError('bad-input', `${length} bytes are too many for one read`, {
        hint: `Read at most ${maxReadBytes} at once.`,
      });
    }
    const result = Buffer.alloc(length);
    for (let at = offset; at < offset + length; ) {
      const chunk = Math.floor(at / chunkBytes);
      const range = chunkRange(this.#shape, chunk);
      const from = at - range.offset;
      const content = await this.#chunk(chunk, signal);
      content?.copy(result, at - offset, from);
      at = range.offset + range.length;
    }
    return result;
  }

  /**
   * Where a range holds data and where only zeros, in order; reads no content.
   * @throws `damaged` when that is not known any more.
   */
  async *extents(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): AsyncIterable<{ length: number; zero: boolean }> {
    for (let at = offset; at < offset + length; ) {
      const chunk = Math.floor(at / this.#shape.chunkBytes);
      const range = chunkRange(this.#shape, chunk);
      const end = Math.min(range.offset + range.length, offset + length);
      const page = await this.#page(Math.floor(chunk / pageChunks), signal);
      yield { length: end - at, zero: page.get(chunk % pageChunks) === null };
      at = end;
    }
  }

  /**
   * All chunks that are not zeros, in order, fetched ahead by a few.
   * @throws `damaged`, naming the backup and the range, unless `damaged` takes note of it.
   */
  async *chunks(options: ChunksOptions = {}): AsyncIterable<Piece> {
    const ahead = options.ahead ?? defaultAhead;
    if (!Number.isInteger(ahead) || ahead < 1 || ahead > maxAhead) {
      throw new HyperscaleError('bad-input', `${ahead} chunks cannot be fetched ahead`);
    }
    const pace = new Pace(options.bytesPerSecond);
    // What is not wanted any more is not waited for.
    const stop = new AbortController();
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([stop.signal, ...signals]);
    const fetching: Promise<Piece | null>[] = [];
    try {
      for await (const chunk of this.#stored(options, signal)) {
        const { length } = chunkRange(this.#shape, chunk);
        await pace.wait(length, signal);
        const piece = this.#piece(chunk, options, signal);
        piece.catch(() => {});
        fetching.push(piece);
        if (fetching.length < ahead) continue;
        const first = await fetching.shift();
        if (first != null) yield first;
      }
      for (const piece of fetching) {
        const next = await piece;
        if (next !== null) yield next;
      }
    } finally {
      stop.abort();
    }
  }

  /** Lets go of the backup: it may be swept away from now on when it was removed. */
  async close(): Promise<void> {
    await this.#pin?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Numbers of the chunks that are not zeros, ascending. */
  async *#stored(options: ChunksOptions, signal: AbortSignal): AsyncIterable<number> {
    const first = Math.floor((options.from ?? 0) / this.#shape.chunkBytes);
    for (let number = Math.floor(first / pageChunks); number < this.#shape.pages; number += 1) {
      checkCancelled(signal);
      for (let next = number; next < number + pagesAhead; next += 1) this.#prepare(next, signal);
      let page: RefList;
      try {
        page = await this.#page(number, signal);
      } catch (error) {
        this.#note(error, pageRange(this.#shape, number), options);
        continue;
      }
      for (let place = 0; place < page.length; place += 1) {
        const chunk = number * pageChunks + place;
        if (chunk >= first && page.get(place) !== null) yield chunk;
      }
    }
  }

  /** Begins to fetch a page. */
  #prepare(number: number, signal: AbortSignal): void {
    if (number >= this.#shape.pages) return;
    this.#page(number, signal).catch(() => {});
  }

  async #piece(chunk: number, options: ChunksOptions, signal: AbortSignal): Promise<Piece | null> {
    try {
      const content = await this.#chunk(chunk, signal);
      return content === null ? null : { offset: chunkRange(this.#shape, chunk).offset, content };
    } catch (error) {
      this.#note(error, chunkRange(this.#shape, chunk), options);
      return null;
    }
  }

  #note(error: unknown, range: Range, { damaged }: ChunksOptions): void {
    if (damaged === undefined || !isHyperscaleError(error, 'damaged')) throw error;
    damaged({ ...range, reason: error.message });
  }

  async #page(number: number, signal: AbortSignal | undefined): Promise<RefList> {
    const { volume } = this.entry;
    return await this.#pages.get(number, signal, async () => {
      await this.#pin?.renewIfDue(Date.now());
      return await this.#orDamaged(pageRange(this.#shape, number), () =>
        this.#objects.page(volume, this.#shape, number, this.#root.get(number)),
      );
    });
  }

  /** Null for zeros. */
  async #chunk(chunk: number, signal: AbortSignal | undefined): Promise<Buffer | null> {
    const page = await this.#page(Math.floor(chunk / pageChunks), signal);
    const ref: Ref | null = page.get(chunk % pageChunks);
    if (ref === null) return null;
    const range = chunkRange(this.#shape, chunk);
    const { volume } = this.entry;
    return await this.#chunks.get(chunk, signal, () =>
      this.#orDamaged(range, () => this.#objects.read(volume, 'chunk', ref, range.length)),
    );
  }

  /** Says which backup, and which part of it, a damaged object takes away. */
  async #orDamaged<T>({ offset, length }: Range, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!isHyperscaleError(error, 'damaged')) throw error;
      const { id, volume } = this.entry;
      const text = `backup ${id} of ${volume}: ${length} bytes at ${offset} are lost: ${error.message}`;
      throw new HyperscaleError('damaged', text, {
        hint: 'Verify the backups of this volume to see which ones have this part.',
        values: { volume, backup: id, offset, length },
        cause: error,
      });
    }
  }
}

/** What was read last; who wants what is being read waits for it. Failures are not kept. */
class Recent<T> {
  readonly #limit: number;
  readonly #kept = new Map<number, Promise<T>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  async get(key: number, signal: AbortSignal | undefined, read: () => Promise<T>): Promise<T> {
    checkCancelled(signal);
    let value = this.#kept.get(key);
    if (value === undefined) {
      value = read();
      value.catch(() => this.#kept.delete(key));
    }
    // Last in the order now, so that the first is the one that was not wanted for longest.
    this.#kept.delete(key);
    this.#kept.set(key, value);
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size > this.#limit) this.#kept.delete(oldest);
    return await value;
  }
}
