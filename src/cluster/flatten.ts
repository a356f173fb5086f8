/**
 * Flattens clones that are to go on from nobody. Watches: records. Wants: the wish of a flatten
 * fulfilled. Does: begins the merge when its node has sound copies of all that is below, which repair
 * brings there; puts the result in place; chooses another node when that one is gone.
 */
import { soundReplicas } from '../volume/damage.ts';
import {
  beginFlatten,
  completeFlatten,
  forgetLeaving,
  hasLeft,
  wishFlatten,
} from '../volume/flatten.ts';
import { clonesOf } from '../volume/marks.ts';
import { abandonMerge } from '../volume/merge.ts';
import { hasRoom } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import { replicaOn, unsealedLayer, writerOf } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';
import type { Step } from './repair.ts';

/** The next step of a flatten, or null. `below`: layers of other records that the volume shows. */
export function flattenStep(
  volume: Volume,
  below: readonly SealedLayer[],
  view: { nodes: readonly NodeView[]; newId: () => string },
): Step | null {
  if (hasLeft(volume)) {
    return { text: 'nothing reads what it was cloned from any more', apply: forgetLeaving };
  }
  const { flatten, merge, parent } = volume;
  if (flatten === undefined || parent === undefined || clonesOf(volume).length > 0) return null;
  const up = (node: NodeName) => view.nodes.some((n) => n.name === node && n.lease !== null);
  if (merge?.below === true) return underWay(volume, up);
  const node = view.nodes.find((n) => n.name === flatten);
  if (node === undefined || !up(flatten)) {
    const other = flattenSite(volume, below, view.nodes);
    if (other === undefined || other === flatten) return null;
    return { text: `it is flattened on ${other}`, apply: (v) => wishFlatten(v, other) };
  }
  const isThere = (l: SealedLayer) =>
    l.manifest !== null && soundReplicas(l).some((r) => r.node === flatten);
  if (merge !== null || !below.every(isThere)) return null;
  return {
    text: `what it shows of others (${below.length} layers) is being merged on ${flatten}`,
    apply: (v) => beginFlatten(v, view.newId(), { node: flatten, pool: node.pool }),
  };
}

function underWay(volume: Volume, up: (node: NodeName) => boolean): Step | null {
  const { merge } = volume;
  if (merge === null) return null;
  if (merge.replicas.some((r) => !up(r.node))) {
    return {
      text: 'the flatten begins anew: one of its nodes is down',
      apply: (v) => abandonMerge(v, merge.into),
    };
  }
  if (merge.manifest === null || merge.replicas.some((r) => r.state !== 'clean')) return null;
  return { text: 'it is flattened and shows nothing of others', apply: completeFlatten };
}

/** Where a clone is best flattened: where it is written, else where most of it is. */
export function flattenSite(
  volume: Volume,
  below: readonly SealedLayer[],
  nodes: readonly NodeView[],
): NodeName | undefined {
  const writer = writerOf(volume);
  const held = (node: NodeName) => below.filter((l) => replicaOn(l, node) !== undefined).length;
  const [best] = nodes
    .filter((n) => n.lease !== null && (hasRoom(n) || held(n.name) > 0))
    .sort(
      (a, b) =>
        Number(b.name === writer) - Number(a.name === writer) ||
        held(b.name) - held(a.name) ||
        (a.name < b.name ? -1 : 1),
    );
  return best?.name;
}

/** Nodes that get a copy of the layer that a flatten made, besides the one that made it. */
export function flattenTargets(
  volume: Volume,
  builder: NodeName,
  nodes: readonly NodeView[],
): { node: NodeName; pool: string }[] {
  const members = unsealedLayer(volume)?.members.map((m) => m.node) ?? [];
  return nodes
    .filter((n) => n.name !== builder && n.lease !== null && hasRoom(n))
    .sort(
      (a, b) =>
        Number(members.includes(b.name)) - Number(members.includes(a.name)) ||
        (b.lease?.freeBytes ?? 0) - (a.lease?.freeBytes ?? 0),
    )
    .slice(0, copiesWanted(volume.policy) - 1)
    .map(({ name, pool }) => ({ node: name, pool }));
}
