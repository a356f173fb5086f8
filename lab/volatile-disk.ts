/**
 * A disk with a volatile write cache over a file: what was written and not flushed may be gone
 * after a power cut, block by block. Pure but for the file.
 */
import { readSync, writeSync } from 'node:fs';

/** What a disk writes in one go: a block is old or new after a power cut, never a mixture. */
export const blockBytes = 4096;

export class VolatileDisk {
  readonly #file: number;
  /** Blocks written since the last flush, by number. */
  #cache = new Map<number, Buffer>();
  #on = true;

  /** `file`: a descriptor that is open for reading and writing; holds what is on stable storage. */
  constructor(file: number) {
    this.#file = file;
  }

  /** Blocks that a power cut could lose now. */
  get unflushed(): number {
    return this.#cache.size;
  }

  read(offset: number, length: number): Buffer {
    const content = Buffer.alloc(length);
    readSync(this.#file, content, 0, length, offset);
    if (this.#cache.size === 0) return content;
    const last = Math.floor((offset + length - 1) / blockBytes);
    for (let number = Math.floor(offset / blockBytes); number <= last; number += 1) {
      const block = this.#cache.get(number);
      if (block === undefined) continue;
      const from = Math.max(offset, number * blockBytes);
      const to = Math.min(offset + length, (number + 1) * blockBytes);
      block.copy(content, from - offset, from - number * blockBytes, to - number * blockBytes);
    }
    return content;
  }

  /** Without power it is accepted and gone: whoever wrote it is gone as well. */
  write(offset: number, content: Buffer): void {
    if (!this.#on) return;
    for (let done = 0; done < content.length; ) {
      const at = offset + done;
      const number = Math.floor(at / blockBytes);
      const start = at - number * blockBytes;
      const length = Math.min(blockBytes - start, content.length - done);
      let block = this.#cache.get(number);
      if (block === undefined) {
        block = length === blockBytes ? Buffer.alloc(blockBytes) : this.#stored(number);
        this.#cache.set(number, block);
      }
      content.copy(block, start, done, done + length);
      done += length;
    }
  }

  /** Puts all that was written on stable storage. */
  flush(): void {
    if (!this.#on) return;
    this.#store(() => true);
  }

  /**
   * The power goes: every unflushed block is on the disk if `survives` says so, and lost if not.
   * @returns how many blocks were lost
   */
  powerCut(survives: (block: number) => boolean): number {
    const before = this.#cache.size;
    const stored = this.#store(survives);
    this.#on = false;
    return before - stored;
  }

  powerOn(): void {
    this.#on = true;
  }

  #stored(number: number): Buffer {
    const block = Buffer.alloc(blockBytes);
    readSync(this.#file, block, 0, blockBytes, number * blockBytes);
    return block;
  }

  #store(wanted: (block: number) => boolean): number {
    const cache = this.#cache;
    this.#cache = new Map();
    let stored = 0;
    for (const [number, block] of cache) {
      if (!wanted(number)) continue;
      writeSync(this.#file, block, 0, blockBytes, number * blockBytes);
      stored += 1;
    }
    return stored;
  }
}
