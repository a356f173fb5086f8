/** Stores the chunks of one backup: each content once, and what the parent has not at all. */
import { HyperscaleError } from '../errors.ts';
import type { Marks } from './marks.ts';
import { unmark } from './marks.ts';
import type { DataKind, Objects } from './objects.ts';
import { Pace } from './pace.ts';
import type { Ref } from './refs.ts';
import { chunkRange, type Shape } from './shape.ts';

/** Reads what the volume held at the backup's point in time: exactly so many bytes. */
export type ReadVolume = (offset: number, length: number) => Promise<Uint8Array>;

export type WriteCounts = {
  /** Read from the volume. */
  readBytes: number;
  /** Sent to the target. */
  sentBytes: number;
  /** This backup's objects in the target, those included that an interrupted run had sent. */
  storedBytes: number;
};

/** Contents remembered to store them once; of more, some may be sent twice, which does no harm. */
const maxRemembered = 65_536;

export type ChunkWriterOptions = {
  objects: Objects;
  volume: string;
  session: string;
  /** An interrupted run may have stored some already. */
  resumed: boolean;
  shape: Shape;
  marks: Marks;
  read: ReadVolume;
  bytesPerSecond: number | undefined;
  signal: AbortSignal | undefined;
};

export class ChunkWriter {
  readonly counts: WriteCounts = { readBytes: 0, sentBytes: 0, storedBytes: 0 };
  readonly #options: ChunkWriterOptions;
  readonly #pace: Pace;
  readonly #zeros: Buffer;
  readonly #stored = new Map<string, Ref>();

  constructor(options: ChunkWriterOptions) {
    this.#options = options;
    this.#pace = new Pace(options.bytesPerSecond);
    this.#zeros = Buffer.alloc(options.shape.chunkBytes);
  }

  /**
   * Reads a chunk of the volume and returns a reference to its content, which is stored unless it
   * is zeros or what the parent has there.
   */
  async store(chunk: number, parent: Ref | null): Promise<Ref | null> {
    const { read, shape, signal } = this.#options;
    const { offset, length } = chunkRange(shape, chunk);
    await this.#pace.wait(length, signal);
    const content = asBuffer(await read(offset, length));
    if (content.length !== length) {
      const text = `the volume returned ${content.length} bytes for ${length} at ${offset}`;
      throw new HyperscaleError('internal', text);
    }
    this.counts.readBytes += length;
    if (content.equals(this.#zeros.subarray(0, length))) return null;
    return await this.storeContent('chunk', content, parent);
  }

  /** Stores content unless the parent, or this backup, has it. */
  async storeContent(kind: DataKind, content: Buffer, parent: Ref | null): Promise<Ref> {
    const { marks, objects, session, volume } = this.#options;
    const digest = await objects.digest(volume, kind, content);
    if (parent?.digest === digest) {
      if (!marks.has(parent)) return parent;
      if (await this.#heal(kind, content, parent)) return parent;
    }
    const known = this.#stored.get(digest);
    if (known !== undefined) return known;
    const { box, name } = await objects.seal(volume, session, kind, digest, content);
    const ref = { session, digest, bytes: box.length };
    if (!(await this.#isThere(name, box.length))) await this.#put(name, box);
    if (!this.#stored.has(digest)) this.counts.storedBytes += box.length;
    this.#remember(ref);
    return ref;
  }

  /**
   * Puts an object that was found bad anew where it was, so that all backups that have it are whole
   * again. Not possible where it has another length now, as after a change of the compression.
   */
  async #heal(kind: DataKind, content: Buffer, bad: Ref): Promise<boolean> {
    const { objects, volume } = this.#options;
    const { box, name } = await objects.seal(volume, bad.session, kind, bad.digest, content);
    if (box.length !== bad.bytes) return false;
    await this.#put(name, box);
    await unmark(objects.target, volume, bad);
    return true;
  }

  async #isThere(name: string, bytes: number): Promise<boolean> {
    const { objects, resumed, signal } = this.#options;
    return resumed && (await objects.target.size(name, signal)) === bytes;
  }

  async #put(name: string, box: Buffer): Promise<void> {
    const { objects, signal } = this.#options;
    await objects.target.put(name, box, signal);
    this.counts.sentBytes += box.length;
  }

  #remember(ref: Ref): void {
    const [oldest] = this.#stored.keys();
    if (oldest !== undefined && this.#stored.size >= maxRemembered) this.#stored.delete(oldest);
    this.#stored.set(ref.digest, ref);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
