import type { LayerKey } from '../engine/engine.ts';
import { type Dependant, seenBy } from '../volume/lineage.ts';
import { replicaOn } from '../volume/queries.ts';
import type { LayerId, Volume } from '../volume/types.ts';
import type { Self } from './context.ts';
import { layerKey } from './layer-key.ts';
import type { VolumeWorker } from './volume-worker.ts';

const unexportTimeoutMs = 2_000;

export type WantedExport = { key: LayerKey; writable: boolean };

/**
 * What this node's replica server must export of a volume: the layer being written, in the boot in
 * which this node became a member (rule 6), and clean sealed layers that a writer elsewhere reads.
 */
export function exportsWanted(
  volume: Volume,
  self: Self,
  dependants: readonly Dependant[] = [],
): WantedExport[] {
  const { tail } = volume;
  const shared = sharedExports(volume, self, dependants);
  if (tail.phase !== 'open' || tail.layer.writer === self.node) return shared;
  const wanted: WantedExport[] = [...shared];
  const { layer } = tail;
  const member = layer.members.find((m) => m.node === self.node);
  if (member?.pool === self.pool && member.boot === self.boot) {
    wanted.push({
      key: layerKey(volume.id, layer),
      writable: true,
    });
  }
  for (const sealed of volume.chain) {
    if (replicaOn(sealed, self.node)?.state !== 'clean') continue;
    if (replicaOn(sealed, layer.writer)?.state === 'clean') continue;
    wanted.push({ key: layerKey(volume.id, sealed), writable: false });
  }
  return wanted;
}

/** Clean sealed layers that clones written elsewhere read. */
function sharedExports(
  volume: Volume,
  self: Self,
  dependants: readonly Dependant[],
): WantedExport[] {
  return volume.chain
    .filter((layer) => replicaOn(layer, self.node)?.state === 'clean')
    .filter((layer) =>
      seenBy(volume, layer.id, dependants).some(({ tail }) => {
        if (tail.phase !== 'open' || tail.layer.writer === self.node) return false;
        return replicaOn(layer, tail.layer.writer)?.state !== 'clean';
      }),
    )
    .map((layer) => ({ key: layerKey(volume.id, layer), writable: false }));
}

/**
 * Exports that nothing may write to or read from any more.
 * @param held layers that are not offered here any more, and that heads of clones may still read.
 */
export function exportsStale(
  volume: Volume,
  current: readonly WantedExport[],
  self: Self,
  dependants: readonly Dependant[] = [],
  held: ReadonlySet<LayerId> = new Set(),
): WantedExport[] {
  const { tail } = volume;
  const writable = new Set<string>();
  if (tail.phase === 'open') writable.add(tail.layer.id);
  if (tail.phase === 'fencing') writable.add(tail.unsealed.id);
  if (tail.phase === 'opening') {
    writable.add(tail.next.id);
    if (tail.closing !== null) writable.add(tail.closing.id);
  }
  const readable = new Set(volume.chain.map((l) => l.id));
  const offered = (id: LayerId) => {
    const layer = volume.chain.find((l) => l.id === id);
    return layer !== undefined && replicaOn(layer, self.node)?.state === 'clean';
  };
  return current.filter(({ key, writable: w }) => {
    if (w) return !writable.has(key.layer) && key.epoch <= volume.epoch;
    if (dependants.length > 0 && (offered(key.layer) || held.has(key.layer))) return false;
    // A head may still read what was merged or dropped; such exports go with the file.
    return tail.phase === 'idle' || (tail.phase === 'deleting' && !readable.has(key.layer));
  });
}

/** Makes the exports of this node match the record. */
export async function syncExports(
  worker: VolumeWorker,
  volume: Volume,
  dependants: readonly Dependant[] = [],
  held: ReadonlySet<LayerId> = new Set(),
): Promise<void> {
  const { engine, self } = worker.context;
  const current = engine.replicas.exports().filter((e) => e.key.volume === volume.id);
  await worker.gate.run(async () => {
    for (const { key } of exportsStale(volume, current, self, dependants, held)) {
      await engine.replicas.unexport(key.layer, unexportTimeoutMs);
    }
    const fence = await engine.layers.fence(volume.id);
    for (const { key, writable } of exportsWanted(volume, self, dependants)) {
      if (current.some((e) => e.key.layer === key.layer)) continue;
      if (writable && key.epoch < fence) continue;
      await engine.replicas.export(key, writable);
    }
  });
}
