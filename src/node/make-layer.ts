import type { LayerKey } from '../engine/engine.ts';
import type { VolumeWorker } from './volume-worker.ts';

/**
 * Makes this node's file of a layer that is about to be opened, and keeps the record beside it.
 * Both are over when this ends, however it ends: a file that came later would be nobody's.
 */
export async function makeLayer(
  worker: VolumeWorker,
  key: LayerKey,
  sizeBytes: number,
): Promise<void> {
  const { layers } = worker.context.engine;
  const done = await Promise.allSettled([layers.create(key, sizeBytes), worker.sidecar.keep()]);
  for (const part of done) if (part.status === 'rejected') throw part.reason;
}
