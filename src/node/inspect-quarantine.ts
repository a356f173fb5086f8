import { holdingOf } from '../cluster/fsck-look.ts';
import { containerBytes, layerKeyOfPath } from '../engine/layer-files.ts';
import { HyperscaleError } from '../errors.ts';
import { soundReplicas } from '../volume/damage.ts';
import { sealedLayer } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';

const unexportTimeoutMs = 2_000;

/**
 * Puts a file of this node's pool aside, when the newest record agrees that it is of no use here:
 * no record places it in this pool, or it has the wrong length and other sound copies exist.
 * @param path below the pool, as an inspection told it.
 * @returns where it lies now; null when it is gone already.
 * @throws `conflict` when it is of use after all.
 */
export async function quarantineHere(agent: Agent, path: string): Promise<string | null> {
  const { engine, store, self } = agent.context;
  const { layers, strays } = await engine.layers.inventory();
  // Only what was found in the pool just now is touched: a path cannot lead out of it.
  if (strays.includes(path)) return engine.layers.quarantine(path);
  const file = layers.find((l) => engine.layers.pathInPool(l) === path);
  if (file === undefined || layerKeyOfPath(path) === undefined) return null;
  const { volume, layer, lengthBytes } = file;
  return agent.worker(volume).gate.run(async () => {
    const record = (await store.readVolume(volume))?.value;
    if (record !== undefined && isOfUse(record, layer, self.pool, lengthBytes)) {
      throw new HyperscaleError('conflict', `${path} belongs to volume ${record.name}`, {
        values: { node: self.node, path },
      });
    }
    await engine.replicas.unexport(layer, unexportTimeoutMs);
    return engine.layers.quarantine(path);
  });
}

function isOfUse(volume: Volume, layer: string, pool: string, lengthBytes: number): boolean {
  const holding = holdingOf(volume, layer, pool);
  if (holding === null) return false;
  const sealed = sealedLayer(volume, layer);
  if (holding !== 'sealed' || sealed === undefined) return true;
  const others = soundReplicas(sealed).some((r) => r.pool !== pool);
  return lengthBytes === containerBytes(sealed.sizeBytes) || !others;
}
