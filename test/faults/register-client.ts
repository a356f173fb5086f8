/** A workload that writes and reads single blocks and remembers what it was told. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer } from '../../lab/consumer.ts';
import { NbdClient } from '../../lab/nbd.ts';
import { blockBytes } from '../../lab/volatile-disk.ts';
import { isHyperscaleError } from '../../src/errors.ts';
import { contentOf, type History, valueIn } from './history.ts';
import type { Machine, Workload } from './machine.ts';
import { Meter } from './meter.ts';

/** Blocks lie in clusters of their own, at all places within a cluster. */
const strideBytes = 33 * blockBytes;
/** Requests of a client at a time. */
const depth = 3;
/** Between an answer and the next request, so that a busy machine has something left. */
const pauseMs = 4;
/** A guest that is paused at an I/O error is resumed about so much later. */
const retryMs = 50;

export function offsetOf(block: number): number {
  return block * strideBytes;
}

export type RegisterClientOptions = {
  name: string;
  history: History;
  random: () => number;
  /** Blocks that this client alone writes: a disk with two writers promises no order. */
  writes: readonly number[];
  reads: readonly number[];
};

export class RegisterClient implements Workload {
  readonly meter = new Meter();
  readonly #options: RegisterClientOptions;
  readonly #busy = new Set<number>();
  /** Requests that were answered with an error, and repeated as a guest's are. */
  errors = 0;

  constructor(options: RegisterClientOptions) {
    this.#options = options;
  }

  settled(): void {
    const { history, name } = this.#options;
    history.settle(name, performance.now());
    this.#busy.clear();
  }

  async run(consumer: Consumer, stop: AbortSignal): Promise<void> {
    let client: NbdClient;
    try {
      client = await NbdClient.open(consumer.socket, 'disk');
    } catch {
      return; // The consumer died with its host.
    }
    const work = async (): Promise<void> => {
      while (!stop.aborted) {
        const answered = await (this.#options.random() < 0.5
          ? this.#write(client)
          : this.#read(client, this.#pick(this.#options.reads)));
        if (!answered) return;
        this.meter.answered();
        await sleep(pauseMs);
      }
    };
    await Promise.all(Array.from({ length: depth }, work));
    client.close();
  }

  /** Reads all blocks once, in order. @throws at an I/O error */
  async readAll(consumer: Consumer): Promise<void> {
    const client = await NbdClient.open(consumer.socket, 'disk');
    for (const block of this.#options.reads) {
      if (!(await this.#read(client, block))) throw new Error('the consumer is gone');
    }
    client.close();
  }

  #pick(blocks: readonly number[]): number {
    return blocks[Math.floor(this.#options.random() * blocks.length)] ?? 0;
  }

  /** False when the consumer is gone, and with it the answer. */
  async #write(client: NbdClient): Promise<boolean> {
    const { history, name, writes } = this.#options;
    const block = this.#pick(writes);
    if (this.#busy.has(block)) return this.#read(client, block);
    this.#busy.add(block);
    const value = history.nextValue();
    const invoked = performance.now();
    const acknowledged = await this.#repeated(() =>
      client.write(offsetOf(block), contentOf(block, value)).then(() => true),
    );
    const completed = acknowledged === undefined ? Number.POSITIVE_INFINITY : performance.now();
    history.add(block, {
      kind: 'write',
      value,
      invoked,
      completed,
      acknowledged: acknowledged !== undefined,
      client: name,
    });
    // Without an answer the block is busy until it is certain that the write cannot come later.
    if (acknowledged !== undefined) this.#busy.delete(block);
    return acknowledged !== undefined;
  }

  async #read(client: NbdClient, block: number): Promise<boolean> {
    const { history, name } = this.#options;
    let invoked = 0;
    const content = await this.#repeated(() => {
      invoked = performance.now();
      return client.read(offsetOf(block), blockBytes);
    });
    if (content === undefined) return false;
    const value = valueIn(block, content);
    const completed = performance.now();
    history.add(block, {
      kind: 'read',
      value,
      invoked,
      completed,
      acknowledged: true,
      client: name,
    });
    return true;
  }

  /** Repeats a request until it is answered without an error; undefined when nobody answers. */
  async #repeated<T>(request: () => Promise<T>): Promise<T | undefined> {
    for (;;) {
      try {
        return await request();
      } catch (error) {
        if (!isHyperscaleError(error, 'engine')) return undefined;
        this.errors += 1;
        await sleep(retryMs);
      }
    }
  }
}

/** A machine and what it does. */
export type RegisterMachine = { machine: Machine; client: RegisterClient };
