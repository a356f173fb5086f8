/** Which chunks of a volume a backup has to look at. A bit each: 8 MiB for 64 TiB in chunks of 1 MiB. */
import { HyperscaleError } from '../errors.ts';
import { pageChunks } from './refs.ts';
import { chunkRange, pageLength, type Shape } from './shape.ts';
import { checkCancelled } from './target.ts';

/** A part of a volume, in bytes. */
export type Range = { offset: number; length: number };

export class ChunkSet {
  readonly shape: Shape;
  readonly #bits: Uint8Array;
  #count = 0;

  constructor(shape: Shape) {
    this.shape = shape;
    this.#bits = new Uint8Array(Math.ceil(shape.chunks / 8));
  }

  /** How many chunks are in the set. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the volume that the chunks hold. */
  get bytes(): number {
    const last = this.shape.chunks - 1;
    const missing = this.shape.chunkBytes - chunkRange(this.shape, last).length;
    return this.#count * this.shape.chunkBytes - (this.has(last) ? missing : 0);
  }

  has(chunk: number): boolean {
    return ((this.#bits[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0;
  }

  add(chunk: number): void {
    if (this.has(chunk)) return;
    this.#bits[chunk >> 3] = (this.#bits[chunk >> 3] ?? 0) | (1 << (chunk & 7));
    this.#count += 1;
  }

  addAll(): void {
    for (let page = 0; page < this.shape.pages; page += 1) this.addPage(page);
  }

  addPage(page: number): void {
    const first = page * pageChunks;
    const end = first + pageLength(this.shape, page);
    for (let chunk = first; chunk < end; chunk += 1) this.add(chunk);
  }

  /** @throws `bad-input` when the range is not inside the volume. */
  addRange({ offset, length }: Range): void {
    const { chunkBytes, sizeBytes } = this.shape;
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (!whole || offset < 0 || length < 0 || offset + length > sizeBytes) {
      const text = `a changed range of ${length} bytes at ${offset} is not inside the volume`;
      throw new HyperscaleError('bad-input', text, { values: { offset, length, sizeBytes } });
    }
    const end = Math.ceil((offset + length) / chunkBytes);
    if (length === 0) return;
    for (let chunk = Math.floor(offset / chunkBytes); chunk < end; chunk += 1) this.add(chunk);
  }

  /** The chunks of one page that are in the set, as places in the page, ascending. */
  *inPage(page: number): Iterable<number> {
    const first = page * pageChunks;
    const length = pageLength(this.shape, page);
    for (let place = 0; place < length; place += 1) if (this.has(first + place)) yield place;
  }
}

/** The chunks that hold the ranges; all chunks for null. */
export async function chunksOf(
  shape: Shape,
  changed: AsyncIterable<Range> | Iterable<Range> | null,
  signal?: AbortSignal,
): Promise<ChunkSet> {
  const chunks = new ChunkSet(shape);
  if (changed === null) {
    chunks.addAll();
    return chunks;
  }
  for await (const range of changed) {
    checkCancelled(signal);
    chunks.addRange(range);
  }
  return chunks;
}
