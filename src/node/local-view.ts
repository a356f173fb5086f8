import type { Volume } from '../volume/types.ts';
import type { LocalView } from './duties.ts';
import { layerKey } from './layer-key.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** What runs on this node for a volume, as its duties depend on it. */
export async function localView(worker: VolumeWorker, volume: Volume): Promise<LocalView> {
  const { engine, self, store, leasesKnown } = worker.context;
  const { tail } = volume;
  const asks = tail.phase === 'open' && tail.layer.writer === self.node && worker.head === null;
  return {
    head: worker.head?.state ?? null,
    openLayerBurnt: asks && (await engine.layers.isBurnt(layerKey(volume.id, tail.layer))),
    proxy: worker.proxy && {
      session: worker.proxy.session,
      headNode: worker.proxy.headNode,
      epoch: worker.proxy.epoch,
    },
    listening: worker.listening,
    gateways: [...worker.gateways.keys()],
    failed: worker.failed(),
    avoid: worker.avoided(),
    settled: worker.settled(),
    leasesKnown: store.connected() && leasesKnown(),
  };
}
