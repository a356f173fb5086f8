import { unsealedLayer } from '../volume/queries.ts';
import type { LayerId, NodeName, PoolId, Volume } from '../volume/types.ts';
import type { FsckFinding, Inspection, Scene } from './fsck-types.ts';

/** Where a layer's file belongs, by the record. */
export type Holding = 'sealed' | 'merging' | 'written' | 'garbage';

/** Path of a layer's file below a pool. */
export function layerPathOf(volume: string, layer: { epoch: number; layer: string }): string {
  return `volumes/${volume}/${layer.epoch}-${layer.layer}.qcow2`;
}

/** What the record says that a pool holds of a layer; null: nothing. */
export function holdingOf(volume: Volume, layer: LayerId, pool: PoolId): Holding | null {
  const { chain, merge, tail, garbage } = volume;
  const sealed = chain.find((l) => l.id === layer);
  if (sealed?.replicas.some((r) => r.pool === pool)) return 'sealed';
  if (merge?.into === layer && merge.replicas.some((r) => r.pool === pool)) return 'merging';
  const next = tail.phase === 'opening' ? [tail.next] : [];
  const unsealed = unsealedLayer(volume);
  const written = [...next, ...(unsealed === null ? [] : [unsealed])];
  if (written.some((l) => l.id === layer && l.members.some((m) => m.pool === pool))) {
    return 'written';
  }
  const waits = garbage.some((g) => g.layer === layer && g.holders.some((h) => h.pool === pool));
  return waits ? 'garbage' : null;
}

/** A node's inspection, if it answered with this pool. */
export function inspectionOf(
  scene: Scene,
  place: { node: NodeName; pool: PoolId },
): Inspection | undefined {
  return scene.inspections.find((i) => i.node === place.node && i.pool === place.pool);
}

export function nameOf(scene: Scene, volume: string): string {
  return scene.volumes.find((v) => v.id === volume)?.name ?? volume;
}

/** A finding; `subject` and the texts say the rest. */
export function finding(
  severity: FsckFinding['severity'],
  kind: string,
  place: { volume?: string | null; node?: string | null; subject?: string },
  text: { what: string; why: string; action: string },
  fix: FsckFinding['fix'] = null,
): FsckFinding {
  const { volume = null, node = null, subject = '' } = place;
  return { kind, severity, volume, node, subject, ...text, fix };
}
