import type { Engine, KeptRecord, LayerKey } from '../engine/engine.ts';
import type { StoreSeen } from '../store/identity.ts';
import type { RetiredPool } from '../store/retirement.ts';
import type { NodeRecord } from '../volume/types.ts';

/** What one node knows when the records have to be rebuilt: its pool, and whom it knows. */
export type NodeFacts = {
  self: NodeRecord;
  boot: string;
  /** The metadata that it believes, and how much of them it has seen. */
  seen: StoreSeen | null;
  /** Why it does not believe what is in etcd; null when it does. */
  quarantine: string | null;
  /** All nodes that it has ever seen registered. */
  nodes: NodeRecord[];
  /** All pools that it knows to be taken out for good. */
  retired: RetiredPool[];
  /** Sidecars, as they lie in the pool. */
  records: KeptRecord[];
  layers: LayerKey[];
  fences: { volume: string; epoch: number }[];
  burnt: string[];
};

/** Looks into this node's pool. Changes nothing. */
export async function factsHere(
  engine: Pick<Engine, 'layers'>,
  known: Pick<NodeFacts, 'self' | 'boot' | 'seen' | 'quarantine' | 'nodes' | 'retired'>,
): Promise<NodeFacts> {
  const { layers, fences, burnt } = await engine.layers.inventory();
  return {
    ...known,
    records: await engine.layers.records(),
    layers: layers.map(({ volume, layer, epoch }) => ({ volume, layer, epoch })),
    fences,
    burnt,
  };
}
