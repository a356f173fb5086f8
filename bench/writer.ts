import type { NbdClient } from '../lab/nbd.ts';

const blockBytes = 4096;
/** The consumer writes here over and over, as a journal is written. */
const workingSetBytes = 4 << 20;

/** Writes one block after the other, and notes how long each of them took. */
export class Writer {
  #longest = 0;
  #stopped = false;
  readonly #end: Promise<void>;

  constructor(client: NbdClient) {
    this.#end = this.#write(client);
    this.#end.catch(() => undefined); // told by `stop`
  }

  /** The longest write of those that ended while `work` was done, in milliseconds. */
  async longestDuring(work: () => Promise<unknown>): Promise<number> {
    this.#longest = 0;
    await Promise.race([work(), this.#end]);
    return this.#longest;
  }

  /** @throws what made a write fail */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#end;
  }

  async #write(client: NbdClient): Promise<void> {
    const block = Buffer.alloc(blockBytes, 7);
    for (let offset = 0; !this.#stopped; offset = (offset + blockBytes) % workingSetBytes) {
      const start = performance.now();
      await client.write(offset, block);
      this.#longest = Math.max(this.#longest, performance.now() - start);
    }
  }
}
