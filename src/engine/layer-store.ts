import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { access, mkdir, open, readdir, rename, rmdir, statfs } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Containers, unfinished } from './containers.ts';
import { hasCode, makeDirectory, onDisk, syncPath, unlinkIfThere } from './durable.ts';
import type {
  Extent,
  KeptRecord,
  LayerKey,
  LayerStore,
  MergeOptions,
  PoolInventory,
} from './engine.ts';
import { FenceFiles } from './fence-files.ts';
import { checkLayerKey, checkVolumeId, isVolumeId } from './ids.ts';
import { convertImage } from './image-convert.ts';
import type { ImageSource } from './image-source.ts';
import { listLayerFiles, listQuarantined, moveToQuarantine } from './inventory.ts';
import { layerKeyOfPath, layerPath, volumeDirectory } from './layer-files.ts';
import { mergeLayers } from './merge.ts';
import { RecordFiles } from './record-files.ts';
import { Reserve } from './reserve.ts';
import { runTool } from './run-tool.ts';

const parts = ['volumes', 'spares', 'fences'] as const;

export type LayerStoreOptions = {
  /** Directory of the pool; it must exist. */
  pool: string;
  /** Directory for the marks of layers that a head has opened; emptied at boot. */
  burntDirectory: string;
  /** Kept back for small files; none when absent. */
  reserveBytes?: number | undefined;
};

/**
 * The layers in a pool: `volumes/VOLUME/EPOCH-LAYER.qcow2`, `spares/`, `fences/VOLUME`,
 * `records/VOLUME`.
 */
export class PoolLayerStore implements LayerStore {
  readonly #pool: string;
  readonly #burnt: string;
  readonly #fences: FenceFiles;
  readonly #records: RecordFiles;
  readonly #containers: Containers;
  readonly reserve: Reserve;

  /** Removes what an earlier run did not finish, so only one store may use a pool at a time. */
  constructor({ pool, burntDirectory, reserveBytes = 0 }: LayerStoreOptions) {
    this.#pool = pool;
    this.#burnt = burntDirectory;
    this.reserve = new Reserve(pool, reserveBytes);
    this.#fences = new FenceFiles(join(pool, 'fences'), this.reserve.write);
    this.#containers = new Containers(join(pool, 'spares'));
    for (const part of parts) makeDirectory(join(pool, part));
    this.#records = new RecordFiles(join(pool, 'records'), this.reserve.write);
    for (const directory of [join(pool, 'spares'), join(pool, 'fences')]) {
      for (const name of readdirSync(directory)) {
        if (name.endsWith(unfinished) || name.endsWith('~')) rmSync(join(directory, name));
      }
    }
  }

  path(key: LayerKey): string {
    return layerPath(this.#pool, key);
  }

  async create(key: LayerKey, sizeBytes: number): Promise<void> {
    await this.#make(key, () => this.#containers.take(sizeBytes));
  }

  async createEmpty(key: LayerKey, sizeBytes: number): Promise<void> {
    await this.#make(key, () => this.#containers.takeEmpty(sizeBytes));
  }

  async keepSpares(sizesBytes: number[]): Promise<void> {
    await this.#containers.keepSpares(sizesBytes);
  }

  async exists(key: LayerKey): Promise<boolean> {
    return await isThere(this.path(key));
  }

  async sync(key: LayerKey): Promise<void> {
    const path = this.path(key);
    await onDisk(path, async () => {
      await syncPath(path);
      await syncPath(dirname(path));
    });
  }

  async remove(key: LayerKey): Promise<void> {
    const path = this.path(key);
    await unlinkIfThere(path);
    // Else a power cut would bring it back, when no record knows it any more.
    await syncPath(await this.#removeIfEmpty(dirname(path)));
  }

  async list(volume: string): Promise<LayerKey[]> {
    const directory = volumeDirectory(this.#pool, checkVolumeId(volume));
    const names = await readdir(directory).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    });
    const keys = names.flatMap((name) => layerKeyOfPath(join(directory, name)) ?? []);
    return keys.sort((a, b) => a.epoch - b.epoch || (a.layer < b.layer ? -1 : 1));
  }

  async volumes(): Promise<string[]> {
    const withLayers = (await readdir(join(this.#pool, 'volumes'))).filter(isVolumeId);
    return [...new Set([...withLayers, ...(await this.#fences.volumes())])].sort();
  }

  async burn(key: LayerKey): Promise<boolean> {
    try {
      await (await open(this.#burntMark(key), 'wx', 0o640)).close();
      return true;
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw error;
    }
  }

  async isBurnt(key: LayerKey): Promise<boolean> {
    return await isThere(this.#burntMark(key));
  }

  async setFence(volume: string, epoch: number): Promise<void> {
    await this.#fences.set(volume, epoch);
  }

  async fence(volume: string): Promise<number> {
    return await this.#fences.get(volume);
  }

  async removeFence(volume: string): Promise<void> {
    await this.#fences.remove(volume);
  }

  async keepRecord(volume: string, text: string): Promise<void> {
    await this.#records.keep(volume, text);
  }

  async record(volume: string): Promise<string | null> {
    return await this.#records.one(volume);
  }

  async records(): Promise<KeptRecord[]> {
    return await this.#records.all();
  }

  async removeRecord(volume: string): Promise<void> {
    await this.#records.remove(volume);
  }

  async extents(key: LayerKey): Promise<Extent[]> {
    const command = ['map', '-U', '--output=json', '-f', 'raw', this.path(key)];
    const map = JSON.parse(await runTool('qemu-img', command)) as {
      start: number;
      length: number;
      data: boolean;
    }[];
    const extents: Extent[] = [];
    for (const { start, length, data } of map) {
      if (!data) continue;
      const last = extents.at(-1);
      if (last !== undefined && last.offset + last.length === start) last.length += length;
      else extents.push({ offset: start, length });
    }
    return extents;
  }

  async merge(
    layers: LayerKey[],
    into: LayerKey,
    sizeBytes: number,
    signal: AbortSignal,
    { rewrite = false, progress }: MergeOptions = {},
  ): Promise<void> {
    await this.#make(into, async () => {
      const target = rewrite
        ? await this.#containers.take(sizeBytes)
        : this.#containers.temporary();
      const helper = this.#containers.temporary();
      const sources = layers.map((key) => this.path(key));
      try {
        await mergeLayers({ sources, target, helper, sizeBytes, signal, rewrite, progress });
        return target;
      } catch (error) {
        await unlinkIfThere(target);
        throw error;
      } finally {
        await unlinkIfThere(helper);
      }
    });
  }

  async importFile(
    into: LayerKey,
    source: ImageSource,
    sizeBytes: number,
    signal: AbortSignal,
    progress?: (part: number) => void,
  ): Promise<void> {
    await this.#make(into, async () => {
      const target = this.#containers.temporary();
      try {
        const more = progress === undefined ? {} : { progress };
        await convertImage({ source, target, sizeBytes, signal, ...more });
        return target;
      } catch (error) {
        await unlinkIfThere(target);
        throw error;
      }
    });
  }

  async inventory(volume?: string): Promise<PoolInventory> {
    const wanted = (id: string) => volume === undefined || id === volume;
    const fenced = (await this.#fences.volumes()).filter(wanted);
    return {
      ...(await listLayerFiles(this.#pool, volume)),
      fences: await Promise.all(
        fenced.map(async (id) => ({ volume: id, epoch: await this.#fences.get(id) })),
      ),
      burnt: await readdir(this.#burnt),
      spares: (await readdir(join(this.#pool, 'spares'))).filter((n) => !n.endsWith(unfinished))
        .length,
      quarantined: await listQuarantined(this.#pool),
    };
  }

  pathInPool(key: LayerKey): string {
    return relative(this.#pool, this.path(key));
  }

  async quarantine(path: string): Promise<string | null> {
    const label = randomBytes(4).toString('hex');
    const moved = await moveToQuarantine(this.#pool, path, label);
    await this.#removeIfEmpty(dirname(join(this.#pool, path)));
    return moved;
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number }> {
    const { blocks, bavail, bsize } = await statfs(this.#pool);
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  /**
   * Only a volume's own directory; the one above is part of the pool.
   * @returns the directory that changed last
   */
  async #removeIfEmpty(directory: string): Promise<string> {
    if (dirname(directory) !== join(this.#pool, 'volumes')) return directory;
    try {
      await rmdir(directory);
      return dirname(directory);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return dirname(directory);
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      return directory;
    }
  }

  #burntMark(key: LayerKey): string {
    return join(this.#burnt, checkLayerKey(key).layer);
  }

  /** Gives a layer the file that `build` makes, durably, unless it has one. */
  async #make(key: LayerKey, build: () => Promise<string>): Promise<void> {
    const path = this.path(key);
    await onDisk(path, async () => {
      if (!(await isThere(path))) await this.#putInPlace(await build(), path);
      await syncPath(dirname(path));
      await syncPath(join(this.#pool, 'volumes'));
    });
  }

  /** Moves a finished file, whose content is on stable storage, to its place. */
  async #putInPlace(built: string, path: string): Promise<void> {
    try {
      for (;;) {
        await mkdir(dirname(path), { mode: 0o750, recursive: true });
        try {
          await rename(built, path);
          return;
        } catch (error) {
          // The volume's last layer may just have been removed, and the directory with it.
          if (!hasCode(error, 'ENOENT') || !(await isThere(built))) throw error;
        }
      }
    } catch (error) {
      await unlinkIfThere(built);
      throw error;
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}
