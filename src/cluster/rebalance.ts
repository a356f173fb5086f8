/**
 * Evens pools out. Watches: records, free space, labels. Wants: no pool much fuller than another, no
 * two copies of a layer in one rack. Does: adds a copy of one sealed layer on the node that is to be
 * filled; when that is there, the copy that is to go is surplus (repair.ts). Pure.
 *
 * It comes to an end: a move for the sake of racks leaves fewer copies that share one, any other
 * leaves no more of them, and brings two pools nearer to each other without making the emptier one
 * the fuller one.
 */
import { addReplica } from '../volume/copies.ts';
import { soundReplicas } from '../volume/damage.ts';
import { type Dependant, dependantsOf } from '../volume/lineage.ts';
import { isTooLong } from '../volume/marks.ts';
import { hasRoom, used } from '../volume/placement.ts';
import { replicaOn } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';
import type { Step } from './repair.ts';
import { layerCopiesWanted, readersOf } from './sharing.ts';
import { gainOf, restGap } from './surplus.ts';

export type Move = { volume: string; from: NodeName; to: NodeName; bytes: number; step: Step };

/**
 * The move that does most: for racks first, then between the pools that differ most, the largest
 * layer first. Null when all is as it should be. Every node comes to the same answer.
 * @param view.threshold how much fuller one pool has to be than the other, as a part of 1.
 * @param view.rests nodes that are left alone now.
 */
export function nextMove(
  volumes: readonly Volume[],
  view: { nodes: readonly NodeView[]; threshold: number; rests(node: NodeName): boolean },
): Move | null {
  const targets = view.nodes
    .filter((n) => hasRoom(n) && !view.rests(n.name))
    .sort((a, b) => used(a) - used(b) || (a.name < b.name ? -1 : 1));
  const known = new Map(volumes.map((v) => [v.id, v]));
  let best: (Move & { spreads: boolean; gap: number }) | null = null;
  for (const volume of volumes) {
    if (!isSettled(volume)) continue;
    const dependants = dependantsOf(volume, (id) => known.get(id));
    for (const layer of volume.chain) {
      if (!isMovable(volume, layer, view.nodes, dependants)) continue;
      const readers = readersOf(volume, layer.id, dependants);
      for (const target of targets) {
        if (replicaOn(layer, target.name) !== undefined) continue;
        const move = moveOf({ volume, layer, readers }, target, view);
        if (move !== null && (best === null || compared(move, best) < 0)) best = move;
        // The emptiest one that may take it: another would bring no more, but for its rack.
        if (move !== null && !move.spreads) break;
      }
    }
  }
  return best;
}

function moveOf(
  { volume, layer, readers }: { volume: Volume; layer: SealedLayer; readers: Set<NodeName> },
  target: NodeView,
  view: { nodes: readonly NodeView[]; threshold: number; rests(node: NodeName): boolean },
) {
  const to = { node: target.name, pool: target.pool };
  const gain = gainOf(volume, layer, to, view.nodes, readers);
  if (gain === null || view.rests(gain.instead.node)) return null;
  const from = gain.instead.node;
  const bytes = layer.bytes ?? 0;
  const sizes = [target, view.nodes.find((n) => n.name === from)].map((n) => n?.lease?.totalBytes);
  const shift = sizes.reduce<number>((sum, total) => sum + bytes / (total || 1), 0);
  const evens = gain.gap >= view.threshold && gain.gap - shift >= restGap;
  if (!gain.spreads && !evens) return null;
  const why = gain.spreads ? 'its copies share a rack' : `${from} is much fuller`;
  return {
    volume: volume.id,
    from,
    to: target.name,
    bytes,
    spreads: gain.spreads,
    gap: gain.gap,
    step: {
      text: `layer ${layer.epoch} is moved from ${from} to ${target.name}: ${why}`,
      apply: (v: Volume) => addReplica(v, layer.id, to),
    },
  };
}

type Ranked = { spreads: boolean; gap: number; bytes: number; volume: string; to: NodeName };

function compared(a: Ranked, b: Ranked): number {
  return (
    Number(b.spreads) - Number(a.spreads) ||
    b.gap - a.gap ||
    b.bytes - a.bytes ||
    (a.volume < b.volume ? -1 : a.volume > b.volume ? 1 : 0)
  );
}

/** Nothing else is done to its copies now, or will be for want of a merge. */
function isSettled(volume: Volume): boolean {
  const { tail, merge } = volume;
  if (tail.phase !== 'idle' && tail.phase !== 'open') return false;
  return merge === null && !isTooLong(volume);
}

/** It has as many proven copies as it should, all on live nodes, and its size is known. */
function isMovable(
  volume: Volume,
  layer: SealedLayer,
  nodes: readonly NodeView[],
  dependants: readonly Dependant[],
): boolean {
  const sound = soundReplicas(layer).filter((r) =>
    nodes.some((n) => n.name === r.node && n.pool === r.pool && n.lease !== null),
  );
  return (
    layer.bytes !== null &&
    sound.length === layer.replicas.length &&
    sound.length >= layerCopiesWanted(volume, layer.id, dependants)
  );
}

/** Nodes on which copies of this volume come or go: their free space is not yet what it will be. */
export function nodesAtWork(volume: Volume): NodeName[] {
  const copying = [...volume.chain, ...(volume.merge === null ? [] : [volume.merge])].flatMap((l) =>
    l.replicas.filter((r) => r.state === 'copying'),
  );
  return [...copying, ...volume.garbage.flatMap((g) => g.holders)].map((place) => place.node);
}
