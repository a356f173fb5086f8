/** Background work that one node has to do for a volume. Pure. */
import { mayBeRead, soundReplicas, unobtainable } from '../volume/damage.ts';
import { hasInputs } from '../volume/merge.ts';
import { copiesWanted } from '../volume/policy.ts';
import { cleanReplicas, isDeletable, mergedEpoch, replicaOn } from '../volume/queries.ts';
import type { LayerId, NodeName, NodeView, Replica, Volume } from '../volume/types.ts';

export type Job =
  /** Hash the authority's copy, so that others can be proven equal. */
  | { kind: 'manifest'; layer: LayerId; epoch: number }
  /** Compare this node's copy with a clean one, chunk by chunk, and mend it. */
  | {
      kind: 'mend';
      layer: LayerId;
      epoch: number;
      from: NodeName;
      /** Where to look for what is not right on `from`. */
      others: NodeName[];
      root: string;
      state: Replica['state'];
      /** The copy belongs to a merge's result rather than to the chain. */
      ofMerge: boolean;
    }
  | { kind: 'merge'; into: LayerId }
  | { kind: 'delete'; layers: { layer: LayerId; epoch: number }[] };

/**
 * What this node can do now, most urgent first.
 * @param held layers that heads of other records may still be reading here.
 */
export function jobsFor(
  volume: Volume,
  self: { node: NodeName; pool: string },
  nodes: readonly NodeView[],
  held: ReadonlySet<LayerId> = new Set(),
): Job[] {
  return [
    ...manifests(volume, self.node, nodes),
    ...mends(volume, self, nodes, held),
    ...merges(volume, self, nodes),
    ...deletions(volume, self, held),
  ];
}

/**
 * True for a copy that is made only because the layer is read here: of others there are enough. It
 * gives way to everything else.
 */
export function isLeisurely(volume: Volume, job: Job, nodes: readonly NodeView[]): boolean {
  if (job.kind !== 'mend' || job.state !== 'copying' || job.ofMerge) return false;
  const layer = volume.chain.find((l) => l.id === job.layer);
  if (layer === undefined) return false;
  const sound = soundReplicas(layer).filter((r) => isUp(nodes, r.node));
  return sound.length >= copiesWanted(volume.policy);
}

function isUp(nodes: readonly NodeView[], node: NodeName): boolean {
  return nodes.some((n) => n.name === node && n.lease !== null);
}

/** The authority hashes; when it is down, the first live holder of a clean (hence equal) copy. */
function manifests(volume: Volume, node: NodeName, nodes: readonly NodeView[]): Job[] {
  return volume.chain
    .filter((layer) => {
      if (layer.manifest !== null) return false;
      const live = cleanReplicas(layer)
        .map((r) => r.node)
        .filter((n) => isUp(nodes, n))
        .sort((a, b) => Number(b === layer.authority) - Number(a === layer.authority));
      return live[0] === node;
    })
    .map(({ id, epoch }) => ({ kind: 'manifest' as const, layer: id, epoch }))
    .reverse();
}

/** Unverified copies first, the newest layer first (rule 5); then copies that are being filled. */
function mends(
  volume: Volume,
  self: { node: NodeName; pool: string },
  nodes: readonly NodeView[],
  held: ReadonlySet<LayerId>,
): Job[] {
  const jobs: Extract<Job, { kind: 'mend' }>[] = [];
  const consider = (
    layer: { id: LayerId; epoch: number; manifest: string | null; replicas: Replica[] },
    authority: NodeName,
    ofMerge: boolean,
  ) => {
    const mine = replicaOn(layer, self.node);
    if (mine === undefined || mine.state === 'clean' || mine.pool !== self.pool) return;
    if (mayBeRead(volume, mine) || held.has(layer.id)) return;
    const alive = cleanReplicas(layer).filter((r) => isUp(nodes, r.node));
    const rank = (r: Replica) => Number(r.damage === undefined) * 2 + Number(r.node === authority);
    const sources = alive.sort((a, b) => rank(b) - rank(a)).map((r) => r.node);
    const [from, ...others] = sources;
    if (from === undefined || layer.manifest === null) return;
    if (unobtainable(mine, alive).length > 0) return;
    jobs.push({
      kind: 'mend',
      layer: layer.id,
      epoch: layer.epoch,
      from,
      others,
      root: layer.manifest,
      state: mine.state,
      ofMerge,
    });
  };
  for (const layer of volume.chain) consider(layer, layer.authority, false);
  const rank = (state: Replica['state']) => (state === 'unverified' ? 0 : 1);
  jobs.sort((a, b) => rank(a.state) - rank(b.state) || b.epoch - a.epoch);
  const { merge } = volume;
  if (merge !== null) {
    const result = { ...merge, id: merge.into, epoch: mergedEpoch(volume) };
    consider(result, merge.builder, true);
  }
  return jobs;
}

/** Only when every copy is proven: a merge must not compete with a mend. */
function merges(volume: Volume, self: { node: NodeName }, nodes: readonly NodeView[]): Job[] {
  const { merge } = volume;
  if (merge === null || merge.builder !== self.node || merge.manifest !== null) return [];
  const busy = volume.chain.some((l) =>
    l.replicas.some((r) => r.state !== 'clean' && isUp(nodes, r.node)),
  );
  return busy || !hasInputs(volume, merge) ? [] : [{ kind: 'merge', into: merge.into }];
}

function deletions(
  volume: Volume,
  self: { node: NodeName; pool: string },
  held: ReadonlySet<LayerId>,
): Job[] {
  const layers = volume.garbage
    .filter((g) => isDeletable(volume, g.afterEpoch) && !held.has(g.layer))
    .filter((g) => g.holders.some((h) => h.node === self.node && h.pool === self.pool))
    .map(({ layer, epoch }) => ({ layer, epoch }));
  return layers.length === 0 ? [] : [{ kind: 'delete', layers }];
}
