/**
 * What sealed layer files hold, in chunks with hashes: the proof that copies are equal and the
 * means to make them so. A copy is filled the way it is mended: chunk by chunk from one that is
 * known to be right.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { Manifest } from '../api/service.ts';
import { HyperscaleError } from '../errors.ts';
import { DirectReader } from './direct-read.ts';
import { hasCode } from './durable.ts';
import type { Extent, LayerKey, LayerStore } from './engine.ts';
import { waitUnopened } from './file-locks.ts';
import { byChunk, chunkBytes, writeSparsely } from './sparse-write.ts';

export { chunkBytes };

/** How long a file may still be in use that is about to be mended. */
const openedTimeoutMs = 2_000;
const zeroChunk = Buffer.alloc(chunkBytes);

/** In place of the hash of a chunk that the disk does not return. */
export const unreadable = 'unreadable';

/**
 * Called with the bytes hashed or written so far, and the bytes there are. Hashing waits for what it
 * returns, so that it can be slowed down.
 */
export type Progress = (doneBytes: number, totalBytes: number) => void | Promise<void>;

export interface LayerContent {
  /**
   * Hashes a layer's container as the disk returns it; only allocated parts are read. A chunk that
   * cannot be read has `unreadable` for a hash.
   */
  hash(key: LayerKey, signal: AbortSignal, progress?: Progress): Promise<Manifest>;
  /**
   * The manifest of a sealed layer, from the file kept beside it, or hashed anew.
   * @throws `damaged` when a part of it cannot be read.
   */
  manifest(key: LayerKey, signal: AbortSignal, progress?: Progress): Promise<Manifest>;
  /** Reads bytes; short at the end of the file. */
  read(key: LayerKey, offset: number, length: number): Promise<Buffer>;
  /** Opens a layer's file to change chunks of it. Nobody else may have it open. */
  mend(key: LayerKey): Promise<Mending>;
  /** Keeps the manifest of a layer that was proven to match it. */
  keep(key: LayerKey, manifest: Manifest): Promise<void>;
  forget(key: LayerKey): Promise<void>;
}

export interface Mending {
  /** Writes one chunk, null for zeros. */
  write(index: number, content: Buffer | null): Promise<void>;
  /** fsyncs the file and closes it. */
  finish(): Promise<void>;
  abandon(): Promise<void>;
}

/** The root hash over all chunk hashes. */
export function rootOf(chunks: readonly (string | null)[], lengthBytes: number): string {
  const hash = createHash('sha256').update(`${lengthBytes}\n`);
  for (const chunk of chunks) hash.update(chunk ?? '0').update('\n');
  return hash.digest('hex');
}

/** The hash of one chunk; null when it holds only zeros. */
export function chunkHash(content: Buffer): string | null {
  if (content.equals(zeroChunk.subarray(0, content.length))) return null;
  return createHash('sha256').update(content).digest('hex');
}

export function createLayerContent(layers: LayerStore): LayerContent {
  return new FileContent(layers);
}

class FileContent implements LayerContent {
  readonly #layers: LayerStore;

  constructor(layers: LayerStore) {
    this.#layers = layers;
  }

  async hash(key: LayerKey, signal: AbortSignal, progress?: Progress): Promise<Manifest> {
    const path = this.#layers.path(key);
    const lengthBytes = (await stat(path)).size;
    const extents = await this.#layers.extents(key);
    const allocatedBytes = extents.reduce((sum, e) => sum + e.length, 0);
    const indexes = chunksOf(extents, lengthBytes);
    const chunks: (string | null)[] = new Array(Math.ceil(lengthBytes / chunkBytes)).fill(null);
    const file = await DirectReader.open(path, chunkBytes);
    try {
      let done = 0;
      for (const index of indexes) {
        signal.throwIfAborted();
        chunks[index] = await readHash(file, index);
        done += 1;
        await progress?.(done * chunkBytes, indexes.length * chunkBytes);
      }
    } finally {
      await file.close();
    }
    const root = rootOf(chunks, lengthBytes);
    return { layer: key.layer, chunkBytes, lengthBytes, allocatedBytes, root, chunks };
  }

  async manifest(key: LayerKey, signal: AbortSignal, progress?: Progress): Promise<Manifest> {
    const kept = await readManifest(this.#manifestPath(key));
    if (kept !== null && kept.layer === key.layer) return kept;
    const made = await this.hash(key, signal, progress);
    if (made.chunks.includes(unreadable)) {
      throw new HyperscaleError('damaged', `parts of ${this.#layers.path(key)} cannot be read`, {
        hint: 'Look at the disk of the pool; the log of the kernel tells more.',
      });
    }
    await this.keep(key, made).catch(async (error: unknown) => {
      // It can be made again; in a full pool it would take what small files need.
      if (!hasCode(error, 'ENOSPC', 'EDQUOT')) throw error;
      await rm(`${this.#manifestPath(key)}.new`, { force: true });
    });
    return made;
  }

  async read(key: LayerKey, offset: number, length: number): Promise<Buffer> {
    const file = await open(this.#layers.path(key), 'r');
    try {
      return await readFully(file, offset, length);
    } finally {
      await file.close();
    }
  }

  async mend(key: LayerKey): Promise<Mending> {
    await this.forget(key);
    const path = this.#layers.path(key);
    if (!(await waitUnopened(path, openedTimeoutMs))) {
      throw new HyperscaleError('in-use', `${path} is open in another process`, {
        hint: 'Nothing to do: it is tried again.',
      });
    }
    const lengthBytes = (await stat(path)).size;
    const data = byChunk(await this.#layers.extents(key));
    const file = await open(path, 'r+');
    return {
      write: async (index, content) => {
        const offset = index * chunkBytes;
        const length = Math.min(chunkBytes, lengthBytes - offset);
        const bytes = content ?? zeroChunk.subarray(0, length);
        if (bytes.length !== length) {
          throw new HyperscaleError(
            'engine',
            `chunk ${index} has ${bytes.length} of ${length} bytes`,
          );
        }
        await writeSparsely(file, bytes, offset, data.get(index) ?? []);
      },
      finish: async () => {
        await file.sync();
        await file.close();
        await this.#layers.sync(key);
      },
      abandon: () => file.close(),
    };
  }

  async keep(key: LayerKey, manifest: Manifest): Promise<void> {
    const path = this.#manifestPath(key);
    await writeFile(`${path}.new`, JSON.stringify(manifest));
    await rename(`${path}.new`, path);
  }

  async forget(key: LayerKey): Promise<void> {
    await rm(this.#manifestPath(key), { force: true });
  }

  #manifestPath(key: LayerKey): string {
    return `${this.#layers.path(key)}.manifest`;
  }
}

async function readHash(file: DirectReader, index: number): Promise<string | null> {
  try {
    return chunkHash(await file.read(index * chunkBytes));
  } catch (error) {
    if (hasCode(error, 'EIO', 'EBADMSG', 'ENODATA', 'EUCLEAN')) return unreadable;
    throw error;
  }
}

/** The numbers of the chunks that hold data. */
function chunksOf(extents: readonly Extent[], lengthBytes: number): number[] {
  const indexes: number[] = [];
  for (const { offset, length } of extents) {
    const last = Math.floor((Math.min(offset + length, lengthBytes) - 1) / chunkBytes);
    for (let i = Math.floor(offset / chunkBytes); i <= last; i += 1) {
      if (indexes.at(-1) !== i) indexes.push(i);
    }
  }
  return indexes;
}

async function readFully(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** A kept manifest; null when there is none or it was cut short by a crash. */
async function readManifest(path: string): Promise<Manifest | null> {
  try {
    const file = await open(path, 'r');
    try {
      const kept = JSON.parse(await file.readFile('utf8')) as Manifest;
      return rootOf(kept.chunks, kept.lengthBytes) === kept.root ? kept : null;
    } finally {
      await file.close();
    }
  } catch {
    return null;
  }
}
