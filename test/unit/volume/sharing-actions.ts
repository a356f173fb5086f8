/** Everything that can happen in the small world of records that share layers. */
import { flattenSite, flattenStep, flattenTargets } from '../../../src/cluster/flatten.ts';
import { jobsFor } from '../../../src/cluster/jobs.ts';
import { mergeStep } from '../../../src/cluster/merge.ts';
import { repairStep } from '../../../src/cluster/repair.ts';
import { sharingStep } from '../../../src/cluster/sharing.ts';
import { attach, detach } from '../../../src/volume/attach.ts';
import { addClone, clonePoint, createClone } from '../../../src/volume/clone.ts';
import { addReplica, dropReplica, markClean, recordManifest } from '../../../src/volume/copies.ts';
import { collectGarbage, isGone, markDeleted } from '../../../src/volume/delete.ts';
import { extendIdle } from '../../../src/volume/extend.ts';
import { beginFencing, completeFencing } from '../../../src/volume/fence.ts';
import { wishFlatten } from '../../../src/volume/flatten.ts';
import { dependantsOf, goesOnFrom, layersBelow, layersSeen } from '../../../src/volume/lineage.ts';
import { clonesOf, snapshotsOf, withMarks } from '../../../src/volume/marks.ts';
import {
  abandonMerge,
  beginMerge,
  completeMerge,
  markMergeClean,
  recordMergeBuilt,
} from '../../../src/volume/merge.ts';
import { cleanReplicas, replicaOn } from '../../../src/volume/queries.ts';
import { close, confirmOpen, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
import { addSnapshot, removeSnapshot, revertTo } from '../../../src/volume/snapshots.ts';
import type { Member, NodeName, SealedLayer, Volume } from '../../../src/volume/types.ts';
import { bootOf, member, poolOf } from './fixtures.ts';
import { episode, giveUp, ship } from './sharing-backups.ts';
import { nothing, type SharingWorld, sealedNow } from './sharing-world.ts';
import { pick } from './world-actions.ts';
import { overlay } from './world-checks.ts';
import { blockBytes, blockCount } from './world-types.ts';

/** The most records at a time. */
const mostRecords = 8;

/** One thing that happens to a volume; `b` and `c` choose what exactly. False: it is not possible. */
type Action = (
  world: SharingWorld,
  volume: Volume,
  b: number,
  c: number,
) => boolean | Promise<boolean>;

const at = (node: NodeName) => ({ node, pool: poolOf(node) });

function members(world: SharingWorld, writer: NodeName, b: number): Member[] {
  const others = world.nodes.filter((n) => n !== writer);
  return [writer, ...others.slice(0, b % 3)].map((n) => member(n));
}

function makeFiles(world: SharingWorld, layer: string, nodes: readonly NodeName[]): void {
  for (const node of nodes) world.files.add(`${node}/${layer}`);
}

/** What a head of this node reads; as it is found after the prepare. */
function sources(world: SharingWorld, volume: Volume, node: NodeName) {
  const seen = layersSeen(volume, world.lookup) ?? [];
  return seen.map(({ layer }) => {
    const clean = cleanReplicas(layer).map((r) => r.node);
    return { layer: layer.id, from: clean.includes(node) ? node : (clean[0] ?? '') };
  });
}

/** The open layer is sealed as it is. */
function seals(world: SharingWorld, id: string): void {
  const shown = world.shows.get(id);
  if (shown) world.sealed.set(id, { ...shown, blocks: [...shown.blocks] });
}

function roll(world: SharingWorld, { id, tail }: Volume, b: number): boolean {
  if (tail.phase !== 'open') return false;
  const { writer } = tail.layer;
  const next = { id: world.newId('l'), members: members(world, writer, b) };
  if (world.change(id, (v) => prepareRoll(v, writer, 'seal', next)) === null) return false;
  world.content.set(next.id, nothing());
  makeFiles(
    world,
    next.id,
    next.members.map((m) => m.node),
  );
  return true;
}

function confirm(world: SharingWorld, { id, tail }: Volume, b: number): boolean {
  if (tail.phase !== 'opening') return false;
  const { next, closing } = tail;
  const self = { node: next.writer, boot: bootOf(next.writer) };
  const clean = b % 2 === 0 ? (closing?.members.map((m) => m.node) ?? []) : [];
  const before = world.records.get(id);
  const reads = before === undefined ? [] : sources(world, before, next.writer);
  const confirmed = world.change(id, (v) => confirmOpen(v, next.id, self, clean));
  if (confirmed === null) return false;
  const closed = closing === null ? [] : [{ layer: closing.id, from: next.writer }];
  const head = { volume: id, node: next.writer, layer: next.id };
  world.heads.set(id, { ...head, sources: [...reads, ...closed] });
  seals(world, id);
  return true;
}

/** Repair brings proven copies of all that a volume shows of others to a node. */
function gather(world: SharingWorld, volume: Volume, node: NodeName): void {
  for (const { home, layer } of layersBelow(volume, world.lookup) ?? []) {
    world.change(home.id, (v) => addReplica(v, layer.id, at(node)));
    const now = world.records.get(home.id);
    if (now !== undefined) prove(world, now);
  }
}

/** Hashes are recorded, and copies that are not clean become equal. */
function prove(world: SharingWorld, { id, chain }: Volume): void {
  for (const layer of chain) {
    const proof = { root: world.content.get(layer.id)?.join() ?? '', bytes: layer.epoch };
    if (layer.manifest === null) world.change(id, (v) => recordManifest(v, layer.id, proof));
    for (const { node, state, pool } of layer.replicas) {
      if (state === 'clean') continue;
      world.files.add(`${node}/${layer.id}`);
      world.change(id, (v) => markClean(v, layer.id, { node, pool }));
    }
  }
}

function buildMerge(world: SharingWorld, volume: Volume): boolean {
  const { id, chain, merge } = volume;
  if (merge === null || merge.manifest !== null) return false;
  const below = layersBelow(volume, world.lookup)?.map(({ layer }) => layer) ?? [];
  const run = merge.below ? below : chain.filter((l) => merge.layers.includes(l.id));
  world.content.set(merge.into, overlay(run.map((l) => world.content.get(l.id) ?? [])));
  makeFiles(world, merge.into, [merge.builder]);
  const others = cleanReplicas(run.at(-1) ?? { replicas: [] }).filter(
    (r) => r.node !== merge.builder,
  );
  const proof = { root: 'root', bytes: 1 };
  const targets = merge.below
    ? flattenTargets(volume, merge.builder, world.views())
    : others.map((r) => at(r.node));
  return world.change(id, (v) => recordMergeBuilt(v, merge.into, proof, targets)) !== null;
}

function finishMerge(world: SharingWorld, { id, merge }: Volume): boolean {
  if (merge === null || merge.manifest === null) return false;
  for (const { node } of merge.replicas) {
    makeFiles(world, merge.into, [node]);
    world.change(id, (v) => markMergeClean(v, merge.into, node));
  }
  if (merge.below) return true;
  const merged = world.change(id, (v) => completeMerge(v, merge.into)) !== null;
  if (merged) world.count('merged');
  return merged;
}

/** As `atSealedPoint` of `src/node`: the open layer is sealed. */
function sealNow(world: SharingWorld, volume: Volume, b: number): Volume | null {
  const { tail, id } = volume;
  if (tail.phase === 'idle') return volume;
  if (tail.phase !== 'open' || world.faults.has('snapshots-without-seal')) return volume;
  roll(world, volume, b);
  const rolled = world.records.get(id);
  return rolled && confirm(world, rolled, b) ? (world.records.get(id) ?? null) : null;
}

const all = {
  create(world) {
    if (world.records.size >= mostRecords) return false;
    world.create();
    return true;
  },
  open(world, { id }, b, c) {
    const node = pick(world.nodes, c) ?? '';
    const next = { id: world.newId('l'), members: members(world, node, b) };
    const consumer = { host: node, session: world.newId('s'), boot: bootOf(node), since: '' };
    if (world.records.get(id)?.tail.phase !== 'idle') return false;
    const opened = world.change(id, (v) => prepareOpen(attach(v, consumer), node, next));
    if (opened === null) return false;
    world.content.set(next.id, nothing());
    makeFiles(
      world,
      next.id,
      next.members.map((m) => m.node),
    );
    return true;
  },
  roll,
  confirm,
  write(world, { id, tail, sizeBytes }, b) {
    const shown = world.shows.get(id);
    if (tail.phase !== 'open' || shown === undefined) return false;
    const block = b % Math.min(blockCount, sizeBytes / blockBytes);
    const number = Number(world.newId(''));
    const content = world.content.get(tail.layer.id) ?? nothing();
    content[block] = number;
    shown.blocks[block] = number;
    world.count('written');
    return true;
  },
  close(world, { id, tail }, b) {
    if (tail.phase !== 'open') return false;
    const { layer } = tail;
    const self = { node: layer.writer, boot: bootOf(layer.writer) };
    const clean = b % 2 === 0 ? layer.members.map((m) => m.node) : [];
    const closed = world.change(id, (v) => close(detach(v, layer.writer), layer.id, self, clean));
    if (closed !== null) seals(world, id);
    return closed !== null;
  },
  'take-over'(world, { id, tail }, b) {
    const layer = tail.phase === 'open' ? tail.layer : null;
    const taker = layer && pick(layer.members, b)?.node;
    if (layer === null || taker === undefined || taker === null) return false;
    if (world.change(id, (v) => beginFencing(v, taker, [layer.writer])) === null) return false;
    const answers = layer.members.map((m) => ({ ...m, holds: true }));
    const taken = world.change(id, (v) => completeFencing(v, taker, answers, taker));
    if (taken !== null) seals(world, id);
    return taken !== null;
  },
  extend(world, { id, sizeBytes }) {
    const larger = sizeBytes + blockBytes;
    if (larger > blockCount * blockBytes) return false;
    if (world.change(id, (v) => extendIdle(v, larger)) === null) return false;
    const shown = world.shows.get(id);
    if (shown) shown.sizeBytes = larger;
    return true;
  },
  /** As the call does it: what was written before is in it. */
  snapshot(world, volume, b) {
    const { id } = volume;
    const wanted = { id: world.newId('s'), name: world.newId('name'), createdAt: '' };
    const shown = structuredClone(world.shows.get(id));
    if (sealNow(world, volume, b) === null || shown === undefined) return false;
    if (world.change(id, (v) => addSnapshot(v, wanted)) === null) return false;
    world.kept.set(`${id}/${wanted.id}`, shown);
    world.count('snapshot');
    return true;
  },
  /** Of what is sealed, whatever has been written since. */
  'snapshot sealed'(world, volume) {
    const { id } = volume;
    const wanted = { id: world.newId('s'), name: world.newId('name'), createdAt: '' };
    const shown = sealedNow(world, volume);
    if (shown === undefined) return false;
    if (world.change(id, (v) => addSnapshot(v, wanted)) === null) return false;
    world.kept.set(`${id}/${wanted.id}`, shown);
    return true;
  },
  episode,
  ship,
  'give up': giveUp,
  'delete snapshot'(world, volume, b) {
    const snapshot = pick(snapshotsOf(volume), b);
    if (snapshot === undefined) return false;
    if (world.change(volume.id, (v) => removeSnapshot(v, snapshot.id)) === null) return false;
    world.kept.delete(`${volume.id}/${snapshot.id}`);
    world.count('snapshot deleted');
    return true;
  },
  clone(world, volume, b, c) {
    if (world.records.size >= mostRecords) return false;
    const { id } = volume;
    const snapshot = c % 2 === 0 ? undefined : pick(snapshotsOf(volume), b);
    const now = structuredClone(world.shows.get(id));
    const source = snapshot === undefined ? sealNow(world, volume, b) : volume;
    const shown = snapshot === undefined ? now : world.kept.get(`${id}/${snapshot.id}`);
    if (source === null || shown === undefined) return false;
    const made = { volume: null as Volume | null };
    world.change(id, (v) => {
      const point = clonePoint(v, snapshot?.id ?? null);
      const name = world.newId('c');
      const { policy } = v;
      const { sizeBytes } = point;
      made.volume = createClone(point, { id: name, name, policy, createdAt: '', sizeBytes });
      return v;
    });
    const clone = made.volume;
    if (clone === null) return false;
    const before = world.records.get(clone.parent?.volume ?? '');
    const note = { volume: clone.id, layer: clone.parent?.layer ?? '' };
    const noted = before && { before, after: addClone(before, note) };
    if (world.faults.has('clones-without-note')) world.add(clone, null);
    else if (!world.add(clone, noted ?? null)) return false;
    world.show(clone.id, shown);
    world.count(volume.parent === undefined ? 'cloned' : 'clone cloned');
    return true;
  },
  async revert(world, volume, b, c) {
    const { id } = volume;
    if (volume.tail.phase === 'open') await actions.close(world, volume, b, c);
    const all = snapshotsOf(volume);
    const snapshot = b % 3 > 0 ? all.at(-1) : pick(all, b);
    if (snapshot === undefined) return false;
    const blind = world.faults.has('reverts-below-clones');
    const reverted = world.change(id, (v) => {
      if (!blind) return revertTo(v, snapshot.id);
      return withMarks(revertTo(withMarks(v, { clones: [] }), snapshot.id), {
        clones: clonesOf(v),
      });
    });
    const shown = world.kept.get(`${id}/${snapshot.id}`);
    if (reverted === null || shown === undefined) return false;
    world.show(id, shown);
    world.count('reverted');
    return true;
  },
  prove(world, volume) {
    prove(world, volume);
    return true;
  },
  'add copy'(world, { id, chain }, b, c) {
    const layer = pick(chain, b);
    const node = pick(world.nodes, c) ?? '';
    if (layer === undefined || replicaOn(layer, node) !== undefined) return false;
    return world.change(id, (v) => addReplica(v, layer.id, at(node))) !== null;
  },
  'drop copy'(world, { id, chain }, b, c) {
    const layer: SealedLayer | undefined = pick(chain, b);
    const node = layer && pick(layer.replicas, c)?.node;
    if (layer === undefined || node === undefined) return false;
    const dropped = world.change(id, (v) => dropReplica(v, layer.id, node)) !== null;
    if (dropped) world.count('copy dropped');
    return dropped;
  },
  'begin merge'(world, { id, chain }, b, c) {
    const from = b % Math.max(1, chain.length);
    const run = chain.slice(from, from + 2 + (c % 2)).map((l) => l.id);
    const builder = at(chain[from]?.authority ?? '');
    const into = world.newId('m');
    const blind = world.faults.has('merges-what-is-seen');
    return (
      world.change(id, (v) => {
        const unseen = blind ? withMarks(v, { clones: [], snapshots: [] }) : v;
        const merging = beginMerge(unseen, run, into, builder);
        return withMarks(merging, { clones: clonesOf(v), snapshots: snapshotsOf(v) });
      }) !== null
    );
  },
  'plan merge'(world, volume) {
    const step = mergeStep(volume, { nodes: world.views(), newId: () => world.newId('m') });
    return step !== null && world.change(volume.id, step.apply) !== null;
  },
  'build merge': buildMerge,
  'complete merge': finishMerge,
  'wish flatten'(world, volume) {
    const { id } = volume;
    const below = layersBelow(volume, world.lookup)?.map(({ layer }) => layer) ?? [];
    const node = flattenSite(volume, below, world.views());
    return node !== undefined && world.change(id, (v) => wishFlatten(v, node)) !== null;
  },
  /** What the coordinator does for a flatten, and at its end. */
  'flatten step'(world, volume) {
    const { flatten } = volume;
    if (flatten !== undefined) gather(world, volume, flatten);
    if (volume.merge?.below) {
      if (volume.merge.manifest === null) return buildMerge(world, volume);
      finishMerge(world, volume);
    }
    const below = layersBelow(volume, world.lookup)?.map(({ layer }) => layer) ?? [];
    const view = { nodes: world.views(), newId: () => world.newId('f') };
    const step = flattenStep(volume, below, view);
    const done = step !== null && world.change(volume.id, step.apply) !== null;
    const flat = volume.parent !== undefined && world.records.get(volume.id)?.parent === undefined;
    if (done && flat) world.count('flattened');
    return done;
  },
  'abandon merge'(world, { id, merge }) {
    return merge !== null && world.change(id, (v) => abandonMerge(v, merge.into)) !== null;
  },
  delete(world, { id }) {
    const deleted = world.change(id, markDeleted);
    if (deleted === null) return false;
    world.shows.delete(id);
    world.sealed.delete(id);
    world.count(deleted.role === 'base' ? 'base' : 'deleted');
    return true;
  },
  /** What the coordinator of a record does for its copies and after clones. */
  tidy(world, volume) {
    const living = world.faults.has('forgets-living-clones');
    const gone = clonesOf(volume)
      .map((c) => c.volume)
      .filter((id) => living || !goesOnFrom(world.records.get(id), volume.id));
    if (world.faults.has('deletes-bases') && volume.role === 'base') {
      return world.change(volume.id, (v) => markDeleted(withMarks(v, { clones: [] }))) !== null;
    }
    const dependants = dependantsOf(volume, world.lookup);
    const view = { nodes: world.views(), givenUp: new Set<string>(), dependants };
    const step = sharingStep(volume, gone) ?? repairStep(volume, view);
    return step !== null && world.change(volume.id, step.apply) !== null;
  },
  async collect(world, volume, _, c) {
    const node = pick(world.nodes, c) ?? '';
    const self = at(node);
    const held = await world.held(volume, node);
    const job = jobsFor(volume, self, world.views(), held).find((j) => j.kind === 'delete');
    if (job?.kind === 'delete') {
      const layers = job.layers.map((l) => l.layer);
      for (const layer of layers) world.files.delete(`${node}/${layer}`);
      world.count('file deleted');
      world.change(volume.id, (v) => collectGarbage(v, node, layers));
    }
    const left = world.records.get(volume.id);
    if (left !== undefined && isGone(left)) world.records.delete(volume.id);
    return job !== undefined || left === undefined;
  },
} satisfies Record<string, Action>;

export type SharingKind = keyof typeof all;
export const actions: Record<SharingKind, Action> = all;
