/**
 * Keeps chains short. Watches: records. Wants: no more sealed layers than the policy allows. Does:
 * begins a merge of the cheapest run of layers when all their copies are proven, records it when
 * enough copies of the result are, gives it up when its builder is gone.
 */
import { addReplica } from '../volume/copies.ts';
import { soundReplicas } from '../volume/damage.ts';
import { isTooLong, mergeableRuns, mergeExcess } from '../volume/marks.ts';
import { abandonMerge, beginMerge, completeMerge, hasInputs } from '../volume/merge.ts';
import { hasRoom } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import { cleanReplicas, replicaOn, writerOf } from '../volume/queries.ts';
import type { NodeName, NodeView, SealedLayer, Volume } from '../volume/types.ts';
import type { Step } from './repair.ts';

/** A merge brings the chain down to this part of what the policy allows. */
const shortenTo = 0.5;

/** The least part of the lower layer that the upper one must hold to be merged for its space. */
const worthMerging = 1 / 4;

/** The next step of merging, or null. `newId` names the result of a merge that begins. */
export function mergeStep(
  volume: Volume,
  view: { nodes: readonly NodeView[]; newId: () => string },
): Step | null {
  const { merge } = volume;
  const up = (node: NodeName) => view.nodes.some((n) => n.name === node && n.lease !== null);
  if (merge === null) return beginStep(volume, view, up);
  if (merge.below === true) return null;
  if (merge.replicas.some((r) => !up(r.node))) {
    return {
      text: `the merge into ${merge.into} is given up: one of its nodes is down`,
      apply: (v) => abandonMerge(v, merge.into),
    };
  }
  if (merge.manifest === null && !hasInputs(volume, merge)) {
    return {
      text: `the merge into ${merge.into} is given up: ${merge.builder} holds its layers no longer`,
      apply: (v) => abandonMerge(v, merge.into),
    };
  }
  if (merge.manifest === null || merge.replicas.some((r) => r.state !== 'clean')) return null;
  const inputs = volume.chain.filter((l) => merge.layers.includes(l.id));
  const needed = Math.min(
    copiesWanted(volume.policy),
    ...inputs.map((l) => cleanReplicas(l).length),
  );
  if (cleanReplicas(merge).length < needed) {
    return {
      text: 'the merge is given up: fewer nodes took part than the layers have copies',
      apply: (v) => abandonMerge(v, merge.into),
    };
  }
  return {
    text:
      merge.rewrite === true
        ? 'layers that were written anew are put in place'
        : `${merge.layers.length} layers are merged into one`,
    apply: (v) => completeMerge(v, merge.into),
  };
}

type Plan = { run: SealedLayer[]; builder: { node: NodeName; pool: string } };

function beginStep(
  volume: Volume,
  view: { nodes: readonly NodeView[]; newId: () => string },
  up: (node: NodeName) => boolean,
): Step | null {
  if (volume.tail.phase !== 'idle' && volume.tail.phase !== 'open') return null;
  const plan = isTooLong(volume) ? cheapestPlan(volume, up) : loosePlan(volume, up);
  if (plan === null) return isTooLong(volume) ? gatherStep(volume, view.nodes) : null;
  const { run, builder } = plan;
  return {
    text: `layers ${run.map((l) => l.epoch).join(', ')} are being merged on ${builder.node}`,
    apply: (v) =>
      beginMerge(
        v,
        run.map((l) => l.id),
        view.newId(),
        builder,
      ),
  };
}

/**
 * Nobody writes, and no node holds two neighbours: the node that holds the most gets a copy of a
 * layer next to one of its own. While somebody writes, his node gets a copy of every layer anyway.
 */
function gatherStep(volume: Volume, nodes: readonly NodeView[]): Step | null {
  const { chain, tail } = volume;
  if (tail.phase !== 'idle') return null;
  const settled = chain.every((l) => l.replicas.every((r) => r.state === 'clean'));
  if (!settled) return null;
  const heldBy = (node: NodeName) => chain.filter((l) => replicaOn(l, node) !== undefined).length;
  const [best] = nodes
    .filter((n) => n.lease !== null && hasRoom(n) && heldBy(n.name) > 0)
    .sort((a, b) => heldBy(b.name) - heldBy(a.name) || (a.name < b.name ? -1 : 1));
  const layer = mergeableRuns(volume)
    .flatMap((run) => run.map((l, i) => ({ l, beside: [run[i - 1], run[i + 1]] })))
    .find(
      ({ l, beside }) =>
        best !== undefined &&
        replicaOn(l, best.name) === undefined &&
        beside.some((n) => n !== undefined && replicaOn(n, best.name)),
    )?.l;
  if (best === undefined || layer === undefined) return null;
  return {
    text: `layer ${layer.epoch} is copied to ${best.name}: it is merged there with its neighbour`,
    apply: (v) => addReplica(v, layer.id, { node: best.name, pool: best.pool }),
  };
}

/**
 * The adjacent layers whose merge moves the fewest bytes and shortens the chain to where it should
 * be, or as near to that as runs allow that one live node holds whole. While somebody writes, each
 * merge ends with a roll, which adds a layer: the two newest alone would be merged again and again.
 */
function cheapestPlan(volume: Volume, up: (node: NodeName) => boolean): Plan | null {
  const keep = Math.max(2, Math.floor(volume.policy.maxLayers * shortenTo));
  const runs = mergeableRuns(volume);
  const newest = volume.tail.phase === 'open' ? volume.chain.at(-1) : undefined;
  for (let length = mergeExcess(volume) + 2 - keep; length >= 2; length -= 1) {
    const plans: (Plan & { bytes: number })[] = [];
    for (const run of runs.flatMap((r) => windows(r, length))) {
      if (length === 2 && run.at(-1) === newest) continue;
      const builder = builderOf(volume, run, up);
      const bytes = run.reduce((sum, l) => sum + (l.bytes ?? 0), 0);
      if (builder !== null) plans.push({ run, builder, bytes });
    }
    const [best] = plans.sort((a, b) => a.bytes - b.bytes);
    if (best !== undefined) return best;
  }
  return null;
}

/** Every run of so many neighbours. */
function windows<T>(of: readonly T[], length: number): T[][] {
  const count = Math.max(0, of.length - length + 1);
  return Array.from({ length: count }, (_, i) => of.slice(i, i + length));
}

/**
 * A layer that nothing keeps apart from the next one any more, and that one: what both hold comes
 * back as space. Both are copied for it, so a small layer on a large one waits for the chain to be
 * too long.
 */
function loosePlan(volume: Volume, up: (node: NodeName) => boolean): Plan | null {
  const loose = volume.loose ?? [];
  for (const run of mergeableRuns(volume).flatMap((r) => windows(r, 2))) {
    const [lower, upper] = run;
    if (lower === undefined || !loose.includes(lower.id)) continue;
    if ((upper?.bytes ?? 0) < (lower.bytes ?? 0) * worthMerging) continue;
    const builder = builderOf(volume, run, up);
    if (builder !== null) return { run, builder };
  }
  return null;
}

/**
 * The node that can merge the run: it holds proven copies of all, and everybody else who holds one
 * is up, so that nobody is left behind. The writer first, since it reads the result.
 */
export function builderOf(
  volume: Volume,
  run: readonly SealedLayer[],
  up: (node: NodeName) => boolean,
): Plan['builder'] | null {
  const proven = run.every(
    (l) =>
      l.manifest !== null &&
      soundReplicas(l).length === l.replicas.length &&
      l.replicas.every((r) => up(r.node)),
  );
  if (!proven) return null;
  const writer = writerOf(volume);
  const holders = (run[0]?.replicas ?? [])
    .filter(({ node }) => run.every((l) => replicaOn(l, node)?.state === 'clean'))
    .sort((a, b) => Number(b.node === writer) - Number(a.node === writer));
  const [builder] = holders;
  return builder === undefined ? null : { node: builder.node, pool: builder.pool };
}
