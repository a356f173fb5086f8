import type { Manifest } from '../../src/api/service.ts';
import type { LayerKey } from '../../src/engine/engine.ts';
import type { Checker } from './checker.ts';
import type { Core, Machine } from './core.ts';

/** Blocks of the largest simulated volume; a block holds the number of the write that filled it. */
export const blockCount = 6;
/** What a block stands for in the size of a volume. */
export const blockBytes = 2 ** 28;

/** How many of the blocks a layer or a volume of this size has. */
export function blocksOf(sizeBytes: number): number {
  return Math.min(blockCount, Math.floor(sizeBytes / blockBytes));
}

/**
 * One layer file. 0: the layer does not hold the block. A negative number is a write that a power
 * cut tore. Reads see `cached`; `stable` is what a power cut cannot take. Only the first `blocks` can
 * be written; behind them everything reads as if the layer did not hold it.
 */
export type Copy = {
  key: LayerKey;
  blocks: number;
  stable: number[];
  cached: number[];
  onDisk: boolean;
};

/** How long a lazy disk takes to make an acknowledged write stable. */
const lazyMs = [50, 4_000] as const;

const emptyBlocks = () => new Array<number>(blockCount).fill(0);

/** The disk under one machine's pool, and what lies on it. Survives everything but its own faults. */
export class Disk {
  readonly core: Core;
  readonly machine: Machine;
  readonly copies = new Map<string, Copy>();
  readonly fences = new Map<string, number>();
  /** Records of volumes, durable like fences. */
  readonly records = new Map<string, string>();
  /** Not synced when written: a power cut may take one. */
  readonly manifests = new Map<string, Manifest>();
  readonly spares = new Set<number>();
  /** Files that were sent here to be imported, by path. */
  readonly files = new Map<string, readonly number[]>();
  /** On a tmpfs: empty after a boot. */
  readonly burnt = new Set<string>();
  readonly #checker: Checker;
  #full = false;
  #failures = 0;
  #slowMs = 0;
  /**
   * A disk that says of a write that it is stable a little before it is, as some do; a flush by
   * itself, and fsync, it does well. The protocol takes a member that rebooted for one of these.
   */
  readonly #lazy: boolean;

  constructor(core: Core, machine: Machine, checker: Checker) {
    this.core = core;
    this.machine = machine;
    this.#checker = checker;
    this.#lazy = core.random.chance(0.5);
  }

  get full(): boolean {
    return this.#full;
  }

  setFull(on: boolean): void {
    this.#full = on;
    this.#note(on ? 'full' : 'has space again');
  }

  /** Chance of a write to answer an error. */
  failWrites(probability: number): void {
    this.#failures = probability;
    if (probability > 0) this.#note(`fails ${probability} of its writes`);
  }

  /** Every access takes this much longer. */
  slow(milliseconds: number): void {
    this.#slowMs = milliseconds;
    if (milliseconds > 0) this.#note(`slow by ${milliseconds} ms`);
  }

  /** Milliseconds of one access. */
  accessMs(): number {
    const { random } = this.core;
    const usual = random.chance(0.15) ? random.int(5, 120) : random.int(1, 20) / 10;
    return usual + this.#slowMs;
  }

  fails(): boolean {
    return this.#failures > 0 && this.core.random.chance(this.#failures);
  }

  /** Makes a file; its name is on stable storage only after `syncNames`. */
  make(key: LayerKey, blocks: number, content: readonly number[] = emptyBlocks()): Copy {
    const copy = { key, blocks, stable: [...content], cached: [...content], onDisk: false };
    this.copies.set(key.layer, copy);
    return copy;
  }

  put(copy: Copy, block: number, value: number): void {
    if (this.copies.get(copy.key.layer) === copy) {
      this.#checker.wrote(this.machine, copy, block, value);
      if (block >= copy.blocks) {
        this.#checker.fail(
          `a write to block ${block} is behind the end of layer ${copy.key.epoch}`,
        );
      }
    }
    copy.cached[block] = value;
  }

  /** A write was to be on stable storage when it is answered. */
  flushWrite(copy: Copy, block: number): void {
    const value = copy.cached[block] ?? 0;
    const settle = () => {
      if (copy.cached[block] === value) copy.stable[block] = value;
    };
    if (!this.#lazy) {
      settle();
      return;
    }
    const { boot } = this.machine;
    this.core.scheduler.after(this.core.random.int(...lazyMs), () => {
      if (this.machine.powered && this.machine.boot === boot) settle();
    });
  }

  /** Everything that was written is on stable storage. */
  flush(copy: Copy): void {
    for (let i = 0; i < blockCount; i += 1) copy.stable[i] = copy.cached[i] ?? 0;
  }

  remove(layer: string): void {
    const copy = this.copies.get(layer);
    if (copy === undefined) return;
    this.#checker.removed(this.machine, copy.key);
    this.copies.delete(layer);
  }

  /** What was not flushed is kept, lost or torn, block by block. */
  powerCut(): void {
    const { random } = this.core;
    this.burnt.clear();
    for (const [layer, copy] of this.copies) {
      if (!copy.onDisk && random.chance(0.5)) {
        this.copies.delete(layer);
        continue;
      }
      copy.onDisk = true;
      for (let i = 0; i < blockCount; i += 1) {
        const cached = copy.cached[i] ?? 0;
        const stable = copy.stable[i] ?? 0;
        if (cached === stable) continue;
        const fate = random.int(0, 3);
        const kept = fate === 0 ? cached : fate === 1 ? -Math.abs(cached) : stable;
        copy.stable[i] = kept;
        copy.cached[i] = kept;
      }
    }
    for (const layer of [...this.manifests.keys()]) {
      if (random.chance(0.3)) this.manifests.delete(layer);
    }
  }

  /** Flips a block of a copy; false when it is not here. */
  rot(layer: string): boolean {
    const copy = this.copies.get(layer);
    if (copy === undefined) return false;
    const block = this.core.random.int(0, copy.blocks - 1);
    this.#checker.rotted(this.machine, layer);
    copy.cached[block] = rotten;
    copy.stable[block] = rotten;
    this.#note(`block ${block} of layer ${copy.key.epoch} rots`);
    return true;
  }

  #note(text: string): void {
    this.core.trace.note(this.machine.name, `disk: ${text}`);
  }
}

/** What a rotten block reads as. */
export const rotten = 0x7fff_ffff;
