/** What a recovery does about one volume: which record is believed, and what the pools say. Pure. */
import { errorText } from '../errors.ts';
import { assertRecord } from '../volume/invariants.ts';
import { withMarks } from '../volume/marks.ts';
import { cleanReplicas, knownLayers } from '../volume/queries.ts';
import type { Replica, SealedLayer, Volume } from '../volume/types.ts';
import { missingNodes } from './recover-missing.ts';
import { compareCandidates, otherHistory } from './recover-order.ts';
import { settleTail } from './recover-tail.ts';
import type { Candidate, NodeKnowledge, Situation, VolumePlan } from './recover-types.ts';

/** etcd takes requests of up to 1.5 MiB. */
const largestRecordBytes = 1 << 20;

/** The plan for one volume. `candidates` are all of it, at least one. */
export function planVolume(candidates: readonly Candidate[], situation: Situation): VolumePlan {
  const sorted = [...candidates].sort(compareCandidates);
  const newest = sorted[0] as Candidate;
  const { nodes, store } = situation;
  const { volume } = newest;
  const inStore = candidates.find((c) => c.node === null);
  const plan: VolumePlan = {
    id: volume.id,
    name: volume.name,
    outcome: 'exact',
    epoch: volume.epoch,
    from: newest.node,
    notes: [],
    losses: [],
    missing: store.current && newest.node === null ? [] : missingNodes(volume, situation),
    record: null,
    unchanged: false,
    fence: null,
  };
  if (wasDeleted(sorted, situation)) {
    const text = 'none of its files is left: it was deleted after the copy of etcd was made';
    return { ...plan, outcome: 'gone', missing: [], notes: [text] };
  }
  for (const node of plan.missing) {
    const why = situation.silent.find((s) => s.node === node)?.why ?? 'it is not known any more';
    plan.losses.push(`${node} may know a later record than that of epoch ${volume.epoch} (${why})`);
  }
  const fork = otherHistory(newest, sorted);
  if (fork !== undefined) {
    plan.losses.push(
      `there is another history of it, up to epoch ${fork.volume.epoch}, ${fork.node === null ? 'in the store' : `on ${fork.node}`}: etcd was set back and used; what was written there is left out`,
    );
  }
  const tail = settleTail(volume, nodes);
  plan.notes.push(...tail.notes);
  plan.losses.push(...tail.losses);
  plan.fence = tail.fence;
  const chain = tail.volume.chain.map((layer) => settleLayer(layer, nodes, plan));
  const found: Volume = { ...tail.volume, chain: chain.flatMap((c) => c.layer ?? []) };
  // What a copy that was never compared holds may be other than what backups were made from.
  const believed = found.chain.some((l, i) => l.authority !== volume.chain[i]?.authority);
  const record = believed ? withMarks(found, { episodes: [] }) : found;
  const wrong = chain.some((c) => c.layer === null) ? 'a layer is nowhere' : whyBroken(record);
  if (wrong !== null) {
    return { ...plan, outcome: 'impossible', losses: [...plan.losses, `${wrong}: left out`] };
  }
  const exact = tail.exact && chain.every((c) => c.exact);
  const outcome = plan.losses.length > 0 ? 'loss' : exact ? 'exact' : 'in-doubt';
  const unchanged =
    inStore !== undefined &&
    inStore.clusterId === store.clusterId &&
    JSON.stringify(inStore.volume) === JSON.stringify(record);
  return { ...plan, outcome, record, unchanged };
}

type Settled = { layer: SealedLayer | null; exact: boolean };

/** Copies whose files are not there are taken out; one in doubt is believed only as the last. */
function settleLayer(
  layer: SealedLayer,
  nodes: readonly NodeKnowledge[],
  plan: VolumePlan,
): Settled {
  // The backup has what it holds.
  if (layer.restoring !== undefined) return { layer, exact: true };
  const isGone = (r: Replica) =>
    nodes.some((n) => n.name === r.node && (n.pool !== r.pool || !n.layers.has(layer.id)));
  const left = layer.replicas.filter((r) => r.state === 'copying' || !isGone(r));
  const gone = layer.replicas.filter((r) => !left.includes(r));
  for (const { node } of gone) {
    plan.notes.push(`the copy of layer ${layer.epoch} on ${node} is gone`);
  }
  const settled = { ...layer, replicas: left };
  if (cleanReplicas(settled).length > 0) return { layer: settled, exact: gone.length === 0 };
  const last = left.find((r) => r.state === 'unverified');
  if (last === undefined) {
    const names = layer.replicas.map((r) => r.node).join(', ');
    plan.losses.push(`no whole copy of layer ${layer.epoch} is left; it was on ${names}`);
    return { layer: null, exact: false };
  }
  plan.losses.push(
    `only a copy of layer ${layer.epoch} that was never compared is left, on ${last.node}`,
  );
  const replicas = left.map((r): Replica => (r === last ? { ...r, state: 'clean' } : r));
  return { layer: { ...settled, authority: last.node, manifest: null, replicas }, exact: false };
}

/**
 * The store's copy is from before the volume was deleted: nobody keeps its record, and all who held
 * a file of it answer and hold none. A volume that never had a file is left as it is.
 */
function wasDeleted(sorted: readonly Candidate[], { nodes, store }: Situation): boolean {
  const [only] = sorted;
  if (only === undefined || sorted.length > 1 || only.node !== null) return false;
  if (only.clusterId !== store.clusterId || store.current) return false;
  const { volume } = only;
  const known = knownLayers(volume);
  if (known.length === 0 || volume.tail.phase === 'deleting') return false;
  const { tail } = volume;
  const places = [
    ...volume.chain.flatMap((l) => l.replicas),
    ...(tail.phase === 'open' ? tail.layer.members : []),
    ...(tail.phase === 'opening' ? [...tail.next.members, ...(tail.closing?.members ?? [])] : []),
    ...(tail.phase === 'fencing' ? tail.unsealed.members : []),
  ];
  return places.every((place) =>
    nodes.some(
      (n) =>
        n.name === place.node && n.pool === place.pool && !known.some((l) => n.layers.has(l.id)),
    ),
  );
}

function whyBroken(record: Volume): string | null {
  try {
    assertRecord(record);
  } catch (error) {
    return errorText(error);
  }
  const bytes = Buffer.byteLength(JSON.stringify(record));
  return bytes > largestRecordBytes ? `its record has ${bytes} bytes, too many for etcd` : null;
}
