/**
 * Keeps as many copies of every sealed layer as the policy asks for, and those where they are read.
 * Watches: records, node leases, marks of nodes that are being drained. Wants: enough clean copies on
 * live nodes that stay, in different racks. Does: adds a copy to be filled, or drops one that is not
 * needed.
 */
import { addReplica, dropReplica } from '../volume/copies.ts';
import { soundReplicas } from '../volume/damage.ts';
import { crowding } from '../volume/domains.ts';
import type { Dependant } from '../volume/lineage.ts';
import { isTooLong } from '../volume/marks.ts';
import { hasRoom, isDraining } from '../volume/placement.ts';
import { replicaOn } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';
import { layerCopiesWanted, readersOf } from './sharing.ts';
import { isWorthFinishing, leastUsefulFirst } from './surplus.ts';

export type RepairView = {
  nodes: readonly NodeView[];
  /** Nodes that have been down for longer than the repair delay: nobody waits for them. */
  givenUp: ReadonlySet<NodeName>;
  /** Records that show layers of this one. */
  dependants?: readonly Dependant[];
};

export type Step = { text: string; apply: (volume: Volume) => Volume };

/** The next change of copies, or null when there is nothing to do. */
export function repairStep(volume: Volume, view: RepairView): Step | null {
  if (volume.tail.phase !== 'idle' && volume.tail.phase !== 'open') return null;
  for (const layer of volume.chain) {
    const step = missingCopy(volume, layer, view) ?? surplusCopy(volume, layer, view);
    if (step !== null) return step;
  }
  return null;
}

function missingCopy(volume: Volume, layer: SealedLayer, view: RepairView): Step | null {
  const { tail } = volume;
  const writeSet = tail.phase === 'open' ? tail.layer.members.map((m) => m.node) : [];
  const readers = readersOf(volume, layer.id, view.dependants ?? []);
  const candidates = view.nodes.filter(
    (n) => n.lease !== null && hasRoom(n) && replicaOn(layer, n.name) === undefined,
  );
  const local = candidates.find((n) => readers.has(n.name));
  if (local !== undefined) return add(layer, local, 'it is read there');
  const leaving = (node: NodeName) => isLeaving(view.nodes, node);
  const counted = layer.replicas.filter((r) => !view.givenUp.has(r.node) && !leaving(r.node));
  if (counted.length >= layerCopiesWanted(volume, layer.id, view.dependants ?? [])) return null;
  const holders = view.nodes.filter((n) => counted.some((r) => r.node === n.name));
  const best = [...candidates].sort(
    (a, b) =>
      crowding(a, holders) - crowding(b, holders) ||
      Number(writeSet.includes(b.name)) - Number(writeSet.includes(a.name)) ||
      (b.lease?.freeBytes ?? 0) - (a.lease?.freeBytes ?? 0),
  )[0];
  return best === undefined ? null : add(layer, best, 'a copy is missing');
}

function add(layer: SealedLayer, node: NodeView, why: string): Step {
  return {
    text: `layer ${layer.epoch} is copied to ${node.name}: ${why}`,
    apply: (v) => addReplica(v, layer.id, { node: node.name, pool: node.pool }),
  };
}

function surplusCopy(volume: Volume, layer: SealedLayer, view: RepairView): Step | null {
  // A copy that a merge is being made from stays until the merge is over.
  if (volume.merge !== null) return null;
  const up = new Set(view.nodes.filter((n) => n.lease !== null).map((n) => n.name));
  const staying = soundReplicas(layer).filter(
    (r) => up.has(r.node) && !isLeaving(view.nodes, r.node),
  );
  const dependants = view.dependants ?? [];
  const wanted = layerCopiesWanted(volume, layer.id, dependants);
  const readers = readersOf(volume, layer.id, dependants);
  if (staying.length < wanted || layer.replicas.length <= wanted) return null;
  // Of a chain that is too long every live copy may be needed to merge it.
  const mayGo = (node: NodeName) => !up.has(node) || !isTooLong(volume);
  const victim = leastUsefulFirst(volume, layer, view.nodes, readers).find((r) => mayGo(r.node));
  if (victim === undefined) return null;
  if (isWorthFinishing(volume, layer, victim, view.nodes, readers)) return null;
  const left = staying.filter((r) => r.node !== victim.node).length;
  if (left < wanted) return null;
  return {
    text: `the copy of layer ${layer.epoch} on ${victim.node} is not needed any more`,
    apply: (v) => dropReplica(v, layer.id, victim.node),
  };
}

function isLeaving(nodes: readonly NodeView[], name: NodeName): boolean {
  return nodes.some((n) => n.name === name && isDraining(n));
}
