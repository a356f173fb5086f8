import type { Extent, LayerKey, LayerStore, PoolInventory } from '../../src/engine/engine.ts';
import type { ImageSource } from '../../src/engine/image-source.ts';
import { containerBytes } from '../../src/engine/layer-files.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { blockBytes, blockCount, blocksOf, type Copy, type Disk } from './disk.ts';
import type { DaemonProcess } from './engine-daemon.ts';

const createMs = [20, 300] as const;
const mergeMs = [100, 800] as const;
const importMs = [100, 4_000] as const;
const totalBytes = 1_000_000;

/** What one sees through layers that lie upon each other, oldest first. */
export function overlay(layers: readonly (readonly number[])[]): number[] {
  return Array.from({ length: blockCount }, (_, block) => {
    const newest = layers.findLast((content) => (content[block] ?? 0) !== 0);
    return newest?.[block] ?? 0;
  });
}

/** What Node throws when a system call fails. */
export function diskError(code: string, text: string): Error {
  return Object.assign(new Error(`${code}: ${text}`), { code });
}

/** The layer files of one pool, as one life of the daemon uses them. */
export class SimLayerStore implements LayerStore {
  readonly #daemon: DaemonProcess;
  readonly #disk: Disk;

  constructor(daemon: DaemonProcess, disk: Disk) {
    this.#daemon = daemon;
    this.#disk = disk;
  }

  async create(key: LayerKey, sizeBytes: number): Promise<void> {
    if (!this.#disk.copies.has(key.layer)) {
      const spare = this.#disk.spares.delete(sizeBytes);
      if (spare) await this.#access();
      else await this.#make();
    }
    await this.#place(key, sizeBytes);
  }

  async createEmpty(key: LayerKey, sizeBytes: number): Promise<void> {
    if (!this.#disk.copies.has(key.layer)) await this.#access();
    await this.#place(key, sizeBytes);
  }

  async keepSpares(sizesBytes: number[]): Promise<void> {
    for (const size of this.#disk.spares) {
      if (!sizesBytes.includes(size)) this.#disk.spares.delete(size);
    }
    for (const size of sizesBytes) {
      if (this.#disk.spares.has(size)) continue;
      await this.#make();
      this.#disk.spares.add(size);
    }
  }

  async exists(key: LayerKey): Promise<boolean> {
    await this.#access();
    return this.#disk.copies.has(key.layer);
  }

  path(key: LayerKey): string {
    return `/pool/volumes/${key.volume}/${key.epoch}-${key.layer}.qcow2`;
  }

  async sync(key: LayerKey): Promise<void> {
    await this.#access();
    const copy = this.copy(key);
    this.#disk.flush(copy);
    await this.#access();
    copy.onDisk = true;
  }

  async remove(key: LayerKey): Promise<void> {
    await this.#access();
    this.#disk.remove(key.layer);
  }

  async list(volume: string): Promise<LayerKey[]> {
    await this.#access();
    return [...this.#disk.copies.values()]
      .map((copy) => copy.key)
      .filter((key) => key.volume === volume)
      .sort((a, b) => a.epoch - b.epoch || (a.layer < b.layer ? -1 : 1));
  }

  async volumes(): Promise<string[]> {
    await this.#access();
    const held = [...this.#disk.copies.values()].map((copy) => copy.key.volume);
    return [...new Set([...held, ...this.#disk.fences.keys()])].sort();
  }

  async burn(key: LayerKey): Promise<boolean> {
    await this.#access();
    if (this.#disk.burnt.has(key.layer)) return false;
    this.#disk.burnt.add(key.layer);
    return true;
  }

  async isBurnt(key: LayerKey): Promise<boolean> {
    await this.#access();
    return this.#disk.burnt.has(key.layer);
  }

  async setFence(volume: string, epoch: number): Promise<void> {
    if ((await this.fence(volume)) >= epoch) return;
    await this.#write();
    this.#disk.fences.set(volume, Math.max(epoch, this.#disk.fences.get(volume) ?? 0));
    this.#daemon.note(`refuses epochs below ${epoch}`);
    await this.#access();
  }

  async fence(volume: string): Promise<number> {
    await this.#access();
    return this.#disk.fences.get(volume) ?? 0;
  }

  async removeFence(volume: string): Promise<void> {
    await this.#access();
    this.#disk.fences.delete(volume);
  }

  async keepRecord(volume: string, text: string): Promise<void> {
    await this.#write();
    this.#disk.records.set(volume, text);
    await this.#access();
  }

  async record(volume: string): Promise<string | null> {
    await this.#access();
    return this.#disk.records.get(volume) ?? null;
  }

  async records(): Promise<{ volume: string; text: string | null }[]> {
    await this.#access();
    return [...this.#disk.records].map(([volume, text]) => ({ volume, text }));
  }

  async removeRecord(volume: string): Promise<void> {
    await this.#access();
    this.#disk.records.delete(volume);
  }

  async extents(key: LayerKey): Promise<Extent[]> {
    await this.#access();
    return this.copy(key).cached.flatMap((value, i) =>
      value === 0 ? [] : [{ offset: i * 8, length: 8 }],
    );
  }

  async merge(
    layers: LayerKey[],
    into: LayerKey,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#disk.copies.has(into.layer)) return this.#place(into, sizeBytes);
    const seen = () => overlay(layers.map((key) => this.copy(key).cached));
    const built = seen();
    const { random } = this.#disk.core;
    await this.#daemon.wait(random.int(...mergeMs));
    if (signal.aborted) throw new HyperscaleError('cancelled', 'the merge was cancelled');
    this.#spaceOrThrow();
    if (seen().join() !== built.join()) {
      throw new HyperscaleError('engine', 'merge failed: the result differs from its sources');
    }
    // What is behind its end has no room in it.
    const kept = built.map((value, i) => (i < blocksOf(sizeBytes) ? value : 0));
    await this.#place(into, sizeBytes, kept);
  }

  async importFile(
    into: LayerKey,
    { path }: ImageSource,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#daemon.wait(this.#disk.core.random.int(...importMs));
    if (signal.aborted) throw new HyperscaleError('cancelled', 'the import was cancelled');
    this.#spaceOrThrow();
    const held = this.#disk.files.get(path);
    const content = Array.from({ length: blockCount }, (_, block) => held?.[block] ?? 0);
    await this.#place(into, sizeBytes, content);
  }

  async inventory(volume?: string): Promise<PoolInventory> {
    await this.#access();
    const wanted = (id: string) => volume === undefined || id === volume;
    return {
      layers: [...this.#disk.copies.values()]
        .filter(({ key }) => wanted(key.volume))
        .map(({ key, blocks }) => {
          const lengthBytes = containerBytes(blocks * blockBytes);
          return { ...key, lengthBytes, allocatedBytes: 0, writtenAt: '' };
        }),
      strays: [],
      fences: [...this.#disk.fences]
        .map(([id, epoch]) => ({ volume: id, epoch }))
        .filter((fence) => wanted(fence.volume)),
      burnt: [...this.#disk.burnt],
      spares: this.#disk.spares.size,
      quarantined: [],
    };
  }

  pathInPool(key: LayerKey): string {
    return this.path(key).replace(/^\/pool\//, '');
  }

  async quarantine(path: string): Promise<string | null> {
    await this.#access();
    const keys = [...this.#disk.copies.values()].map((copy) => copy.key);
    const key = keys.find((k) => this.pathInPool(k) === path);
    if (key === undefined) return null;
    this.#disk.remove(key.layer);
    return `quarantine/${path}`;
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number }> {
    await this.#access();
    return { totalBytes, freeBytes: this.#disk.full ? 0 : totalBytes * 0.7 };
  }

  /** @throws as `open` does when there is no such file */
  copy(key: LayerKey): Copy {
    const copy = this.#disk.copies.get(key.layer);
    if (copy !== undefined) return copy;
    throw diskError('ENOENT', `no such file or directory, open '${this.path(key)}'`);
  }

  /** The name of a finished file, durable. */
  async #place(key: LayerKey, sizeBytes: number, content?: readonly number[]): Promise<void> {
    const there = this.#disk.copies.get(key.layer);
    const copy = there ?? this.#disk.make(key, blocksOf(sizeBytes), content);
    await this.#access();
    copy.onDisk = true;
  }

  async #make(): Promise<void> {
    await this.#daemon.wait(this.#disk.core.random.int(...createMs));
    await this.#write();
  }

  async #write(): Promise<void> {
    await this.#access();
    this.#spaceOrThrow();
    if (this.#disk.fails()) throw diskError('EIO', 'i/o error, write');
  }

  #spaceOrThrow(): void {
    if (!this.#disk.full) return;
    throw new HyperscaleError('no-space', `there is no space in the pool`);
  }

  async #access(): Promise<void> {
    await this.#daemon.wait(this.#disk.accessMs());
  }
}
