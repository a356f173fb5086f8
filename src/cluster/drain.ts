/**
 * What is left on a node that is being drained, and what keeps it there. Pure: repair.ts makes the
 * copies elsewhere and drops those that are on it.
 */
import { soundReplicas } from '../volume/damage.ts';
import { dependantsOf } from '../volume/lineage.ts';
import { hasRoom, isDraining, placementLimit } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import { replicaOn, unsealedLayer } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';
import { layerCopiesWanted, readersOf } from './sharing.ts';

/** Something that stays until somebody does something about it. */
export type Obstacle = { volume: string; why: string };

/**
 * - `none`: nobody asked for it.
 * - `draining`: it goes on by itself.
 * - `waiting`: all that is left waits for somebody: volumes to be attached elsewhere, or nodes.
 * - `drained`: no volume has anything there.
 */
export type DrainState = 'none' | 'draining' | 'waiting' | 'drained';

export type DrainReport = {
  node: NodeName;
  state: DrainState;
  /** Since when, ISO 8601, and who asked for it; null when nobody did. */
  since: string | null;
  by: string | null;
  /** Copies of sealed layers there, and their bytes as far as they are known. */
  copies: number;
  bytes: number;
  /** Layers that are written there. */
  writing: number;
  /** Old files there that are yet to be deleted. */
  files: number;
  /** Names of volumes that are attached there. */
  attached: string[];
  obstacles: Obstacle[];
};

export function drainReport(
  node: NodeView,
  volumes: readonly Volume[],
  nodes: readonly NodeView[],
): DrainReport {
  const parts = volumes.map((volume) => partOf(volume, node));
  const sum = (of: (part: Part) => number) => parts.reduce((total, part) => total + of(part), 0);
  const left = volumes.filter((_, i) => parts[i]?.isEmpty === false);
  const states = left.map((volume) => stateOf(volume, node, { nodes, lookup: lookupIn(volumes) }));
  const rests = states.every((state) => state.waits);
  const state = left.length === 0 ? 'drained' : rests ? 'waiting' : 'draining';
  return {
    node: node.name,
    state: isDraining(node) ? state : 'none',
    since: node.drain?.at ?? null,
    by: node.drain?.by ?? null,
    copies: sum((part) => part.copies),
    bytes: sum((part) => part.bytes),
    writing: sum((part) => part.writing),
    files: sum((part) => part.files),
    attached: left
      .filter((v) => isAttached(v, node))
      .map((v) => v.name)
      .sort(),
    obstacles: states.flatMap((s) => s.obstacle ?? []).sort(byVolume),
  };
}

/** Why the node could not be emptied if its guests left it; empty when it could. */
export function drainObstacles(
  node: NodeView,
  volumes: readonly Volume[],
  nodes: readonly NodeView[],
): Obstacle[] {
  const view = { nodes, lookup: lookupIn(volumes) };
  const left = volumes.filter((volume) => !partOf(volume, node).isEmpty);
  return left.flatMap((volume) => obstacleTo(volume, node, view) ?? []).sort(byVolume);
}

/** Bytes that the pools of the others can take before they are too full for anything new. */
export function roomBeside(node: NodeView, nodes: readonly NodeView[]): number {
  return nodes
    .filter((n) => n.name !== node.name && hasRoom(n))
    .map(({ lease }) => {
      const { totalBytes = 0, freeBytes = 0 } = lease ?? {};
      return Math.max(0, placementLimit * totalBytes - (totalBytes - freeBytes));
    })
    .reduce((sum, bytes) => sum + bytes, 0);
}

/** What one volume has on the node. */
type Part = { isEmpty: boolean; copies: number; bytes: number; writing: number; files: number };

function partOf(volume: Volume, node: NodeView): Part {
  const isHere = (places: readonly { pool: string }[]) => places.some((p) => p.pool === node.pool);
  const { tail, merge, chain, garbage } = volume;
  const sealed = chain.filter((l) => isHere(l.replicas));
  const copies = sealed.length + (merge !== null && isHere(merge.replicas) ? 1 : 0);
  const unsealed = [unsealedLayer(volume), tail.phase === 'opening' ? tail.next : null];
  const writing = unsealed.filter((l) => l !== null && isHere(l.members)).length;
  // A node that is down deletes nothing; what lies there is nobody's when it is removed.
  const files = node.lease === null ? 0 : garbage.filter((g) => isHere(g.holders)).length;
  return {
    isEmpty: copies + writing + files === 0 && !isAttached(volume, node),
    copies,
    bytes: sealed.reduce((total, l) => total + (l.bytes ?? 0), 0),
    writing,
    files,
  };
}

function isAttached(volume: Volume, node: NodeView): boolean {
  return volume.attachments.some((a) => a.host === node.name);
}

type View = {
  nodes: readonly NodeView[];
  lookup: (id: string) => Volume | undefined;
};

/** `waits`: it does not leave the node unless somebody does something. */
function stateOf(
  volume: Volume,
  node: NodeView,
  view: View,
): { waits: boolean; obstacle: Obstacle | null } {
  const obstacle = obstacleTo(volume, node, view);
  if (obstacle !== null) return { waits: true, obstacle };
  const dependants = dependantsOf(volume, view.lookup);
  const isUsed =
    isAttached(volume, node) ||
    volume.chain.some(
      (l) =>
        replicaOn(l, node.name) !== undefined && readersOf(volume, l.id, dependants).has(node.name),
    );
  // Of a volume that is used there copies are still made elsewhere: a move of its guest ends it.
  const isOnItsWay = volume.chain.some((layer) => {
    const staying = soundReplicas(layer).filter((r) =>
      othersOf(node, view.nodes).some((n) => n.name === r.node),
    );
    return staying.length < layerCopiesWanted(volume, layer.id, dependants);
  });
  return { waits: isUsed && !isOnItsWay, obstacle: null };
}

/** Why the volume cannot leave the node altogether; being used there is none. */
function obstacleTo(volume: Volume, node: NodeView, view: View): Obstacle | null {
  const { tail, chain, policy } = volume;
  if (tail.phase === 'deleting') return null;
  const others = othersOf(node, view.nodes);
  const obstacle = (why: string) => ({ volume: volume.name || volume.id, why });
  const few = (wanted: number, takers: number) => {
    const nodes = takers === 1 ? '1 other node' : `${takers} other nodes`;
    return obstacle(`${policy.name} asks for ${wanted} copies, and ${nodes} can hold one`);
  };
  const unsealed = unsealedLayer(volume);
  if (unsealed !== null) {
    const isMember = (n: NodeView) => unsealed.members.some((m) => m.node === n.name);
    const takers = others.filter((n) => hasRoom(n) || isMember(n)).length;
    if (takers < copiesWanted(policy)) return few(copiesWanted(policy), takers);
  }
  const dependants = dependantsOf(volume, view.lookup);
  const holds = (n: NodeView, layer: SealedLayer) => replicaOn(layer, n.name)?.pool === n.pool;
  for (const layer of chain.filter((l) => replicaOn(l, node.name) !== undefined)) {
    const takers = others.filter((n) => hasRoom(n) || holds(n, layer)).length;
    const wanted = layerCopiesWanted(volume, layer.id, dependants);
    if (takers < wanted) return few(wanted, takers);
    const isUp = (pool: string) => view.nodes.some((n) => n.pool === pool && n.lease !== null);
    const isWaitedFor = layer.restoring !== undefined;
    if (!isWaitedFor && !soundReplicas(layer).some((r) => isUp(r.pool))) {
      return obstacle(`no node that is up has a clean copy of the layer of epoch ${layer.epoch}`);
    }
  }
  return null;
}

/** Live nodes that stay. */
function othersOf(node: NodeView, nodes: readonly NodeView[]): NodeView[] {
  return nodes.filter((n) => n.name !== node.name && n.lease !== null && !isDraining(n));
}

function lookupIn(volumes: readonly Volume[]): View['lookup'] {
  const known = new Map(volumes.map((v) => [v.id, v]));
  return (id) => known.get(id);
}

function byVolume(a: Obstacle, b: Obstacle): number {
  return a.volume < b.volume ? -1 : 1;
}
