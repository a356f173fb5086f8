/** What lies in a pool, as it is found there, and a place for what does not belong. */
import type { Dirent } from 'node:fs';
import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HyperscaleError } from '../errors.ts';
import { hasCode, syncPath } from './durable.ts';
import type { LayerFile } from './engine.ts';
import { layerKeyOfPath } from './layer-files.ts';

const sectorBytes = 512;
const quarantine = 'quarantine';
/** What is kept beside a layer's file and goes where it goes. */
const companion = /\.qcow2\.manifest(\.new)?$/;

/** Layer files under `volumes/` of a pool, and the paths below the pool of all that is none. */
export async function listLayerFiles(
  pool: string,
  volume?: string,
): Promise<{ layers: LayerFile[]; strays: string[] }> {
  const layers: LayerFile[] = [];
  const strays: string[] = [];
  for (const entry of await entries(join(pool, 'volumes'))) {
    if (volume !== undefined && entry.name !== volume) continue;
    if (!entry.isDirectory()) {
      strays.push(join('volumes', entry.name));
      continue;
    }
    for (const file of await entries(join(pool, 'volumes', entry.name))) {
      const path = join(pool, 'volumes', entry.name, file.name);
      const key = file.isFile() ? layerKeyOfPath(path) : undefined;
      const found = key && (await statIfThere(path));
      if (key !== undefined && found !== undefined) {
        layers.push({
          ...key,
          lengthBytes: found.size,
          allocatedBytes: found.blocks * sectorBytes,
          writtenAt: found.mtime.toISOString(),
        });
      } else if (key === undefined && !companion.test(file.name)) {
        strays.push(join('volumes', entry.name, file.name));
      }
    }
  }
  return { layers, strays };
}

/** Paths below `quarantine/` of a pool. */
export async function listQuarantined(pool: string): Promise<string[]> {
  return (await entries(join(pool, quarantine))).map((entry) => entry.name).sort();
}

/**
 * Moves a file of the pool, with what is kept beside it, into `quarantine/` of the same pool, under
 * a name that nothing there has.
 * @param path below the pool.
 * @returns the new path below the pool; null when there was no such file.
 */
export async function moveToQuarantine(
  pool: string,
  path: string,
  label: string,
): Promise<string | null> {
  const from = join(pool, path);
  if ((await statIfThere(from)) === undefined) return null;
  await mkdir(join(pool, quarantine), { mode: 0o750, recursive: true });
  const name = path.replace(/^volumes\//, '').replaceAll('/', '_');
  const to = join(quarantine, `${label}-${name}`);
  if ((await statIfThere(join(pool, to))) !== undefined) {
    throw new HyperscaleError('exists', `${join(pool, to)} is there already`);
  }
  await rename(from, join(pool, to));
  await rename(`${from}.manifest`, `${join(pool, to)}.manifest`).catch((error: unknown) => {
    if (!hasCode(error, 'ENOENT')) throw error;
  });
  await syncPath(join(pool, quarantine));
  await syncPath(dirname(from));
  return join(quarantine, basename(to));
}

async function entries(directory: string): Promise<Dirent[]> {
  return readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  });
}

async function statIfThere(path: string) {
  return stat(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  });
}
