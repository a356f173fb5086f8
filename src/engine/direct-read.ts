import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { hasCode } from './durable.ts';

/** The types of Node.js leave it out. */
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
};

/** Pages of WebAssembly's memory. */
const pageBytes = 64 * 1024;
/** Buffers that nobody uses now; each reserves much address space, so they are used again. */
const idle: Buffer[] = [];

/**
 * Reads a file past the page cache, so that what is read is what the disk returns now and not what
 * memory still holds of it, and nothing useful is driven out of memory. A file system without
 * direct I/O (a tmpfs) is read as usual.
 */
export class DirectReader {
  readonly #file: FileHandle;
  readonly #buffer: Buffer;

  private constructor(file: FileHandle, buffer: Buffer) {
    this.#file = file;
    this.#buffer = buffer;
  }

  /** @param pieceBytes the most that is read at once; all readers must have the same. */
  static async open(path: string, pieceBytes: number): Promise<DirectReader> {
    const file = await openDirect(path);
    return new DirectReader(file, idle.pop() ?? alignedBuffer(pieceBytes));
  }

  /**
   * Reads a piece, short at the end of the file; the offset must be a multiple of 4096.
   * @returns memory that the next read overwrites.
   */
  async read(offset: number): Promise<Buffer> {
    const { bytesRead } = await this.#file.read(this.#buffer, 0, this.#buffer.length, offset);
    return this.#buffer.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    idle.push(this.#buffer);
    await this.#file.close();
  }
}

async function openDirect(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch (error) {
    if (!hasCode(error, 'EINVAL')) throw error;
    return await open(path, 'r');
  }
}

/** Direct I/O wants memory that begins with a page; that of WebAssembly does, no other's of JavaScript. */
function alignedBuffer(bytes: number): Buffer {
  const pages = Math.ceil(bytes / pageBytes);
  return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, bytes);
}
