/** What the files of a pool take on its disk. */
import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from './durable.ts';
import { listLayerFiles } from './inventory.ts';
import { reserveDirectory } from './reserve.ts';

const sectorBytes = 512;
/** Where files of ours lie that are no layers. */
const ownParts = ['spares', 'fences', 'records', 'imports', 'quarantine'];
/** Single files in the pool itself. */
const ownNames =
  /^(hyperscale-pool|scrub-times|store-seen|nodes)\.json~?$|^\.(heartbeat|hyperscaled)/;

export type PoolUsage = {
  /** Of the file system, as for users without privileges: what it keeps for root is not free. */
  totalBytes: number;
  freeBytes: number;
  ownBytes: number;
  reserveBytes: number;
  files: { volume: string; layer: string; bytes: number }[];
};

/**
 * Measures a pool: bytes that are allocated, holes do not count. One look at each file, no reading.
 * @param volumes only their layers; all when absent.
 */
export async function measurePool(pool: string, volumes?: readonly string[]): Promise<PoolUsage> {
  const { blocks, bavail, bsize } = await statfs(pool);
  const [listed, own, reserveBytes] = await Promise.all([
    volumes === undefined
      ? [await listLayerFiles(pool)]
      : Promise.all(volumes.map((volume) => listLayerFiles(pool, volume))),
    volumes === undefined ? ownFiles(pool) : 0,
    below(join(pool, reserveDirectory)),
  ]);
  return {
    totalBytes: blocks * bsize,
    freeBytes: bavail * bsize,
    ownBytes: own,
    reserveBytes,
    files: listed
      .flatMap(({ layers }) => layers)
      .map(({ volume, layer, allocatedBytes: bytes }) => ({ volume, layer, bytes })),
  };
}

async function ownFiles(pool: string): Promise<number> {
  const names = await readdir(pool, { withFileTypes: true });
  const single = names
    .filter((e) => e.isFile() && ownNames.test(e.name))
    .map((e) => allocated(join(pool, e.name)));
  const parts = ownParts.map((part) => below(join(pool, part)));
  return sum(await Promise.all([...single, ...parts, besideLayers(join(pool, 'volumes'))]));
}

/** Checksums that are kept beside the layers. */
async function besideLayers(volumes: string): Promise<number> {
  const sizes = (await entries(volumes)).map(async (volume) => {
    const directory = join(volumes, volume.name);
    const kept = (await entries(directory)).filter((e) => e.name.includes('.manifest'));
    return sum(await Promise.all(kept.map((e) => allocated(join(directory, e.name)))));
  });
  return sum(await Promise.all(sizes));
}

/** All files in a directory and those below it. */
async function below(directory: string): Promise<number> {
  const sizes = (await entries(directory)).map((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? below(path) : allocated(path);
  });
  return sum(await Promise.all(sizes));
}

async function allocated(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * sectorBytes;
  } catch (error) {
    // It went while we looked.
    if (hasCode(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function entries(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
