import type { Manifest } from '../../src/api/service.ts';
import type { LayerKey } from '../../src/engine/engine.ts';
import {
  chunkHash,
  type LayerContent,
  type Mending,
  type Progress,
  rootOf,
} from '../../src/engine/layer-content.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Copy, Disk } from './disk.ts';
import type { DaemonProcess } from './engine-daemon.ts';
import type { Host } from './engine-host.ts';
import { diskError, type SimLayerStore } from './layer-store.ts';

/** A chunk is a block, and a block is a number. */
const chunkBytes = 8;
/** How long a file may still be in use that is about to be mended. */
const openTimeoutMs = 2_000;
const openLookMs = 20;

export function bytesOf(value: number): Buffer {
  const bytes = Buffer.alloc(chunkBytes);
  bytes.writeInt32BE(value, 0);
  return bytes;
}

const hashes = new Map<number, string | null>();

/** The hash of a block, the same for the same number in every history. */
function hashOf(value: number): string | null {
  const known = hashes.get(value);
  if (known !== undefined) return known;
  const made = chunkHash(bytesOf(value));
  hashes.set(value, made);
  return made;
}

/** Manifests and mending over simulated layer files, as one life of the daemon uses them. */
export class SimLayerContent implements LayerContent {
  readonly #daemon: DaemonProcess;
  readonly #host: Host;
  readonly #disk: Disk;
  readonly #layers: SimLayerStore;

  constructor(daemon: DaemonProcess, host: Host, layers: SimLayerStore) {
    this.#daemon = daemon;
    this.#host = host;
    this.#disk = host.disk;
    this.#layers = layers;
  }

  async hash(key: LayerKey, signal: AbortSignal, _progress?: Progress): Promise<Manifest> {
    const copy = this.#layers.copy(key);
    const { random } = this.#disk.core;
    const half = Math.floor(copy.blocks / 2);
    const lengthBytes = copy.blocks * chunkBytes;
    // A hash takes its time: what changes meanwhile is seen in part.
    await this.#daemon.wait(random.int(2, 40) + this.#disk.accessMs());
    const first = copy.cached.slice(0, half);
    await this.#daemon.wait(random.int(2, 40) + this.#disk.accessMs());
    signal.throwIfAborted();
    const values = [...first, ...copy.cached.slice(half, copy.blocks)];
    const chunks = values.map(hashOf);
    const allocatedBytes = values.filter((v) => v !== 0).length * chunkBytes;
    const root = rootOf(chunks, lengthBytes);
    return { layer: key.layer, chunkBytes, lengthBytes, allocatedBytes, root, chunks };
  }

  async manifest(key: LayerKey, signal: AbortSignal, progress?: Progress): Promise<Manifest> {
    await this.#daemon.wait(this.#disk.accessMs());
    const kept = this.#disk.manifests.get(key.layer);
    if (kept !== undefined) return kept;
    const made = await this.hash(key, signal, progress);
    await this.keep(key, made);
    return made;
  }

  async read(key: LayerKey, offset: number, length: number): Promise<Buffer> {
    const copy = this.#layers.copy(key);
    await this.#daemon.wait(this.#disk.accessMs());
    return Buffer.concat(copy.cached.map(bytesOf)).subarray(offset, offset + length);
  }

  async mend(key: LayerKey): Promise<Mending> {
    await this.forget(key);
    for (let waited = 0; this.#host.hasOpen(key.layer); waited += openLookMs) {
      if (waited > openTimeoutMs) {
        throw new HyperscaleError('in-use', `${key.layer} is open in another process`);
      }
      await this.#daemon.wait(openLookMs);
    }
    const copy: Copy = this.#layers.copy(key);
    return {
      write: async (index, content) => {
        await this.#daemon.wait(this.#disk.accessMs());
        if (this.#disk.fails()) throw diskError('EIO', 'i/o error, write');
        this.#disk.put(copy, index, content?.readInt32BE(0) ?? 0);
      },
      finish: async () => {
        await this.#daemon.wait(this.#disk.accessMs());
        this.#disk.flush(copy);
        await this.#layers.sync(key);
      },
      abandon: () => this.#daemon.wait(0),
    };
  }

  async keep(key: LayerKey, manifest: Manifest): Promise<void> {
    await this.#daemon.wait(this.#disk.accessMs());
    this.#disk.manifests.set(key.layer, manifest);
  }

  async forget(key: LayerKey): Promise<void> {
    await this.#daemon.wait(this.#disk.accessMs());
    this.#disk.manifests.delete(key.layer);
  }
}
