/** When a volume is to be backed up by itself, and which node ships what. Pure. */
import { soundReplicas } from '../volume/damage.ts';
import { basesOn, pendingEpisodes } from '../volume/episodes.ts';
import { type Lookup, layersBelow, type SeenLayer } from '../volume/lineage.ts';
import { episodesOf, placeOf } from '../volume/marks.ts';
import { writerOf } from '../volume/queries.ts';
import type { Episode, NodeName, NodeView, Volume } from '../volume/types.ts';

const minuteMs = 60_000;

/** Nodes that are up and have the target, by name. */
export function ableNodes(target: string, nodes: readonly NodeView[]): NodeName[] {
  return nodes
    .filter((n) => n.lease !== null && n.backupTargets?.includes(target) === true)
    .map((n) => n.name)
    .sort();
}

/**
 * Ms until the plan wants the next episode, 0 when it is due; null when it wants none: there is no
 * plan, one waits to be shipped, or nobody can have written since the last one.
 */
export function dueInMs(volume: Volume, now: number): number | null {
  const plan = volume.episodePlan;
  const { phase } = volume.tail;
  if (plan === undefined || (phase !== 'idle' && phase !== 'open')) return null;
  if (pendingEpisodes(volume).some((e) => e.asked === undefined)) return null;
  const last = basesOn(volume, plan.target).at(-1);
  if (last === undefined) return 0;
  const top = volume.chain.at(-1)?.id ?? null;
  const rests = phase === 'idle' && last.layer === top && last.sizeBytes === volume.sizeBytes;
  if (rests) return null;
  const age = now - Date.parse(last.at);
  const interval = plan.everyMinutes * minuteMs;
  // A time to come is from a clock that was wrong.
  return age < -interval ? 0 : Math.max(0, interval - age);
}

/** Ms by which the newest backup is too old: two intervals without one. Null: it is not. */
export function overdueMs(volume: Volume, now: number): number | null {
  const plan = volume.episodePlan;
  if (plan === undefined) return null;
  const waiting = pendingEpisodes(volume).filter((e) => e.asked === undefined);
  const last = basesOn(volume, plan.target).at(-1);
  // Of a volume that was never shipped the first episode is old; one that rests needs no newer one.
  const since = last?.at ?? waiting[0]?.at;
  if (since === undefined || (waiting.length === 0 && dueInMs(volume, now) !== 0)) return null;
  const late = now - Date.parse(since) - 2 * plan.everyMinutes * minuteMs;
  return late > 0 ? late : null;
}

/** Layers that an episode shows, oldest first; null while those of others are not known here. */
export function layersOf(volume: Volume, episode: Episode, lookup: Lookup): SeenLayer[] | null {
  const below = layersBelow(volume, lookup);
  const own = volume.chain.slice(0, placeOf(volume, episode.layer) + 1);
  return below && [...below, ...own.map((layer) => ({ home: volume, layer }))];
}

/**
 * The node that ships an episode, of those that have its target: one that has not failed to, holds
 * the most of what must be read, and does not serve the volume. All nodes that see the same say the
 * same; when two think otherwise for a while, both write one and the same backup, which does no harm.
 */
export function shipperOf(
  volume: Volume,
  episode: Episode,
  { nodes, lookup }: { nodes: readonly NodeView[]; lookup: Lookup },
): NodeName | null {
  const layers = layersOf(volume, episode, lookup);
  if (layers === null) return null;
  const writer = writerOf(volume);
  const missing = (node: NodeName) =>
    layers.filter(({ layer }) => !soundReplicas(layer).some((r) => r.node === node)).length;
  const rank = (node: NodeName) => [
    Number(episode.failed?.includes(node) === true),
    missing(node),
    Number(node === writer),
  ];
  const [best] = ableNodes(episode.target, nodes).sort((a, b) => compare(rank(a), rank(b)));
  return best ?? null;
}

/** What this node ships next of a volume, or null. */
export function nextToShip(
  volume: Volume,
  node: NodeName,
  view: { nodes: readonly NodeView[]; lookup: Lookup },
): Episode | null {
  if (episodesOf(volume).length === 0) return null;
  const mine = pendingEpisodes(volume).filter((e) => isReady(volume, e, view.lookup));
  return mine.find((e) => shipperOf(volume, e, view) === node) ?? null;
}

/** What it shows is proven: checksums say what each layer holds, and none is still being restored. */
function isReady(volume: Volume, episode: Episode, lookup: Lookup): boolean {
  const layers = layersOf(volume, episode, lookup) ?? [];
  return layers.every(({ layer }) => layer.manifest !== null && layer.restoring === undefined);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
