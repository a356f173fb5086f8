import type { LayerKey } from '../engine/engine.ts';

/** What the engine calls a layer of a volume. */
export function layerKey(volume: string, layer: { id: string; epoch: number }): LayerKey {
  return { volume, layer: layer.id, epoch: layer.epoch };
}
