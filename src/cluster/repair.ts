/**
 * Keeps as many copies of every sealed layer as the policy asks for, and those where they are read.
 * Watches: records, node leases. Wants: enough clean copies on live nodes. Does: adds a copy to be
 * filled, or drops one that is not needed.
 */
import { addReplica, dropReplica } from '../volume/copies.ts';
import { soundReplicas } from '../volume/damage.ts';
import { hasRoom } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import { replicaOn } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';

export type RepairView = {
  nodes: readonly NodeView[];
  /** Nodes that have been down for longer than the repair delay: nobody waits for them. */
  givenUp: ReadonlySet<NodeName>;
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
  const writer = tail.phase === 'open' ? tail.layer.writer : null;
  const writeSet = tail.phase === 'open' ? tail.layer.members.map((m) => m.node) : [];
  const candidates = view.nodes.filter(
    (n) => n.lease !== null && hasRoom(n) && replicaOn(layer, n.name) === undefined,
  );
  const local = candidates.find((n) => n.name === writer);
  if (local !== undefined) return add(layer, local, 'it is read there');
  const counted = layer.replicas.filter((r) => !view.givenUp.has(r.node)).length;
  if (counted >= copiesWanted(volume.policy)) return null;
  const best = [...candidates].sort(
    (a, b) =>
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
  const { tail } = volume;
  const writeSet = tail.phase === 'open' ? tail.layer.members.map((m) => m.node) : [];
  const liveClean = soundReplicas(layer).filter((r) => up.has(r.node));
  const wanted = copiesWanted(volume.policy);
  if (liveClean.length < wanted || layer.replicas.length <= wanted) return null;
  // The least useful first: on a dead node, not clean, not where the volume is written.
  const rank = (node: NodeName, clean: boolean) =>
    Number(up.has(node)) * 4 + Number(clean) + Number(writeSet.includes(node)) * 2;
  // Of a chain that is too long every live copy may be needed to merge it.
  const mayGo = (node: NodeName) => volume.chain.length <= volume.policy.maxLayers || !up.has(node);
  const victim = layer.replicas
    .filter((r) => mayGo(r.node))
    .filter((r) => tail.phase !== 'open' || r.node !== tail.layer.writer)
    .sort((a, b) => rank(a.node, a.state === 'clean') - rank(b.node, b.state === 'clean'))[0];
  if (victim === undefined) return null;
  const left = liveClean.filter((r) => r.node !== victim.node).length;
  if (left < wanted) return null;
  return {
    text: `the copy of layer ${layer.epoch} on ${victim.node} is not needed any more`,
    apply: (v) => dropReplica(v, layer.id, victim.node),
  };
}
