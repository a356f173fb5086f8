import { basename, dirname, join } from 'node:path';
import type { LayerKey } from './engine.ts';
import { checkLayerKey, isLayerId, isVolumeId } from './ids.ts';

const mib = 1 << 20;
const pageBytes = 4096;

/**
 * Length of the file that holds a layer of `sizeBytes`: room for its tables and then some, so that
 * it never has to grow. It is sparse.
 */
export function containerBytes(sizeBytes: number): number {
  const bytes = sizeBytes + Math.ceil(sizeBytes / 8) + 64 * mib;
  return Math.ceil(bytes / pageBytes) * pageBytes;
}

export function volumeDirectory(pool: string, volume: string): string {
  return join(pool, 'volumes', volume);
}

/** Where a layer lies in a pool. */
export function layerPath(pool: string, key: LayerKey): string {
  const { volume, epoch, layer } = checkLayerKey(key);
  return join(volumeDirectory(pool, volume), `${epoch}-${layer}.qcow2`);
}

/** The layer that lies at a path, or undefined when it is not the path of a layer. */
export function layerKeyOfPath(path: string): LayerKey | undefined {
  const match = /^(\d{1,15})-([0-9a-f]{32})\.qcow2$/.exec(basename(path));
  const volume = basename(dirname(path));
  const [, epoch, layer] = match ?? [];
  if (epoch === undefined || layer === undefined) return undefined;
  return isVolumeId(volume) && isLayerId(layer)
    ? { volume, layer, epoch: Number(epoch) }
    : undefined;
}
