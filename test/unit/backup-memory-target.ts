/** A target in memory that fails, or cuts the power, when a test wants it to. */

import type { ObjectSize, Target } from '../../src/backup/target.ts';
import { checkCancelled, checkFolder, checkObjectName, tooLong } from '../../src/backup/target.ts';
import { HyperscaleError } from '../../src/errors.ts';

export type Operation = 'get' | 'size' | 'put' | 'delete' | 'flush' | 'list';

export class MemoryTarget implements Target {
  readonly description = 'memory';
  listingLagMs = 0;
  readonly objects: Map<string, Buffer>;
  /** Operations so far, by kind. */
  readonly counts: Record<Operation, number> = {
    ...{ get: 0, size: 0, put: 0, delete: 0, flush: 0, list: 0 },
  };
  /** Called before each operation; what it throws is the operation's failure. */
  before: (operation: Operation, name: string) => void | Promise<void> = () => {};

  /** A second one over the same objects is another host. */
  constructor(objects = new Map<string, Buffer>()) {
    this.objects = objects;
  }

  async get(name: string, maxBytes: number, signal?: AbortSignal): Promise<Buffer | null> {
    await this.#begin('get', name, signal);
    const content = this.objects.get(name);
    if (content === undefined) return null;
    if (content.length > maxBytes) throw tooLong(name, content.length, maxBytes);
    return Buffer.from(content);
  }

  async size(name: string, signal?: AbortSignal): Promise<number | null> {
    await this.#begin('size', name, signal);
    return this.objects.get(name)?.length ?? null;
  }

  async put(name: string, content: Uint8Array, signal?: AbortSignal): Promise<void> {
    const copy = Buffer.from(content);
    await this.#begin('put', name, signal);
    this.objects.set(name, copy);
  }

  async putIfAbsent(name: string, content: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    await this.#begin('put', name, signal);
    if (this.objects.has(name)) return false;
    this.objects.set(name, Buffer.from(content));
    return true;
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    await this.#begin('delete', name, signal);
    this.objects.delete(name);
  }

  async flush(signal?: AbortSignal): Promise<void> {
    await this.#begin('flush', 'all', signal);
  }

  async *names(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    for await (const { name } of this.sizes(folder, signal)) yield name;
  }

  async *sizes(folder: string, signal?: AbortSignal): AsyncIterable<ObjectSize> {
    checkFolder(folder);
    await this.#begin('list', folder.slice(0, -1), signal);
    const all = [...this.objects].filter(([name]) => name.startsWith(folder));
    for (const [name, { length }] of all) yield { name, bytes: length };
  }

  async *folders(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    const found = new Set<string>();
    for await (const name of this.names(folder, signal)) {
      const [first, ...deeper] = name.slice(folder.length).split('/');
      if (first !== undefined && deeper.length > 0) found.add(first);
    }
    yield* found;
  }

  close(): void {}

  async #begin(operation: Operation, name: string, signal: AbortSignal | undefined): Promise<void> {
    checkCancelled(signal);
    checkObjectName(name);
    this.counts[operation] += 1;
    await this.before(operation, name);
  }
}

/** Lets the n-th operation from now, and all after it, fail: the writer's host is gone. */
export function failFrom(target: MemoryTarget, n: number): void {
  let left = n;
  target.before = () => {
    left -= 1;
    if (left < 0) throw new HyperscaleError('unavailable', 'the target is gone');
  };
}
