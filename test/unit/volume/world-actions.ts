/** Everything that can happen in the small world. */
import { jobsFor } from '../../../src/cluster/jobs.ts';
import { attach, detach } from '../../../src/volume/attach.ts';
import { addReplica, dropReplica } from '../../../src/volume/copies.ts';
import { markDeleted } from '../../../src/volume/delete.ts';
import { extendIdle } from '../../../src/volume/extend.ts';
import { beginFencing } from '../../../src/volume/fence.ts';
import { abandonMerge, beginMerge, completeMerge } from '../../../src/volume/merge.ts';
import { unsealedLayer } from '../../../src/volume/queries.ts';
import { abandonOpening, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
import type { Member, Volume } from '../../../src/volume/types.ts';
import type { World } from './world.ts';
import {
  advance,
  begin,
  closeVolume,
  completeRoll,
  perform,
  startHead,
  takeOver,
} from './world-agents.ts';
import { blockBytes, blockCount, type Head, type Task, type WorldNode } from './world-types.ts';

export function upNodes(world: World): WorldNode[] {
  return world.nodes.filter((n) => n.up);
}

export function pick<T>(from: readonly T[], choice: number): T | undefined {
  return from[choice % from.length];
}

/** The writer first and up to two others that are up, in any order. */
function someMembers(world: World, writer: WorldNode, b: number, c: number): Member[] {
  const others = upNodes(world).filter((n) => n !== writer);
  const turned = others.map((_, i) => others[(i + c) % others.length]).slice(0, b % 3);
  return [writer, ...turned].flatMap((n) =>
    n === undefined ? [] : [{ node: n.name, pool: n.pool, boot: n.boot }],
  );
}

/** A head that lives, or one whose last writes are still on their way. */
function someHead(world: World, choice: number, alive: boolean): Head | undefined {
  const heads = world.heads.filter((h) => h.alive || (!alive && h.writes.length > 0));
  return pick(heads.slice(-3), choice);
}

/** Starts a task where nothing runs; every other one goes through without a pause. */
function start(
  world: World,
  node: WorldNode,
  slot: 'duty' | 'background',
  make: () => Task | null,
): boolean {
  if (node[slot] !== null) return false;
  node[slot] = make();
  const started = node[slot] !== null;
  while (node[slot] !== null && world.dice % 2 === 0) node[slot] = advance(world, node[slot]);
  return started;
}

function asIfIdle(volume: Volume): Volume {
  return { ...volume, tail: { phase: 'idle' } };
}

const freeUp = (world: World, name: string | undefined) =>
  world.nodes.find((n) => n.name === name && n.up && n.duty === null);

/**
 * One thing that happens, at this node where that matters; `b` and `c` choose what exactly. False
 * when it is not possible now.
 */
type Action = (world: World, node: WorldNode, b: number, c: number) => boolean;

export const actions = {
  advance(world, _, b) {
    const slots = ['duty', 'background'] as const;
    const busy = world.nodes.flatMap((n) =>
      slots.flatMap((slot) => (n[slot] === null ? [] : [{ n, slot, task: n[slot] }])),
    );
    const chosen = pick(busy, b);
    if (chosen === undefined) return false;
    chosen.n[chosen.slot] = advance(world, chosen.task);
    return true;
  },
  write(world, _, b, c) {
    const head = someHead(world, b, true);
    const block = c % ((head?.layer.sizeBytes ?? blockBytes) / blockBytes);
    // A consumer does not write where a write of its own is under way.
    const busy = head?.writes.some((w) => w.block === block && !w.acknowledged);
    if (head === undefined || busy) return false;
    world.issue(head, block);
    return true;
  },
  reach(world, _, b, c) {
    const head = someHead(world, b, false);
    const waiting = head?.writes.filter((w) => w.reached.size < head.layer.members.length) ?? [];
    const write = pick(waiting, c);
    if (head === undefined || write === undefined) return false;
    const left = head.layer.members.filter((m) => !write.reached.has(m.node));
    const targets = c % 3 > 0 ? left : [pick(left, Math.floor(c / 3))];
    return targets.filter((t) => t && world.reach(head, write, t)).length > 0;
  },
  acknowledge(world) {
    for (const head of world.heads) {
      for (const write of head.writes) if (world.acknowledge(head, write)) return true;
    }
    return false;
  },
  attach(world, node) {
    const session = world.newId('session');
    const consumer = { host: node.name, session, boot: node.boot, since: '' };
    return world.change((v) => attach(v, consumer)) !== null;
  },
  detach(world, node) {
    return world.change((v) => detach(v, node.name)) !== null;
  },
  open(world, node, b, c) {
    const host = pick(world.record.attachments, c)?.host;
    const by = freeUp(world, host) ?? node;
    if (by.duty !== null) return false;
    const next = { id: world.newId('l'), members: someMembers(world, by, b, c) };
    return world.change((v) => prepareOpen(v, by.name, next)) !== null;
  },
  roll(world, _, b, c) {
    const by = freeUp(world, unsealedLayer(world.record)?.writer);
    if (by === undefined) return false;
    const next = { id: world.newId('l'), members: someMembers(world, by, b, c) };
    return world.change((v) => prepareRoll(v, by.name, 'seal', next)) !== null;
  },
  extend(world, _, b, c) {
    const { tail, sizeBytes } = world.record;
    const larger = sizeBytes + (1 + (c % 2)) * blockBytes;
    if (larger > blockCount * blockBytes) return false;
    const by = freeUp(world, unsealedLayer(world.record)?.writer);
    const grown =
      tail.phase === 'idle'
        ? world.change((v) => extendIdle(v, larger))
        : by === undefined
          ? null
          : world.change((v) => {
              const members = someMembers(world, by, b, c);
              const next = { id: world.newId('l'), members, sizeBytes: larger };
              return prepareRoll(v, by.name, 'extend', next);
            });
    if (grown !== null) world.count('extended');
    return grown !== null;
  },
  complete(world, _, b) {
    const { tail } = world.record;
    const by = tail.phase === 'opening' ? freeUp(world, tail.next.writer) : undefined;
    return by ? start(world, by, 'duty', () => begin(completeRoll(world, by, b % 3 > 0))) : false;
  },
  'start-head'(world) {
    const { tail } = world.record;
    const by = tail.phase === 'open' ? freeUp(world, tail.layer.writer) : undefined;
    if (by === undefined || world.headOn(by.name) !== undefined) return false;
    return start(world, by, 'duty', () => begin(startHead(world, by)));
  },
  close(world) {
    const { tail } = world.record;
    const by = tail.phase === 'open' ? freeUp(world, tail.layer.writer) : undefined;
    return by ? start(world, by, 'duty', () => begin(closeVolume(world, by))) : false;
  },
  fence(world, node, b) {
    if (node.duty !== null) return false;
    const revoke = b % 4 === 0 ? [pick(world.nodes, Math.floor(b / 4))?.name ?? ''] : [];
    return world.change((v) => beginFencing(v, node.name, revoke)) !== null;
  },
  'take-over'(world) {
    const { tail } = world.record;
    const by = tail.phase === 'fencing' ? freeUp(world, tail.taker) : undefined;
    return by ? start(world, by, 'duty', () => begin(takeOver(world, by))) : false;
  },
  abandon(world) {
    const { tail } = world.record;
    if (tail.phase !== 'opening') return false;
    return world.change((v) => abandonOpening(v, tail.next.id)) !== null;
  },
  job(world, node, b) {
    if (node.background !== null) return false;
    const record = world.faults.has('deletes-what-is-read') ? asIfIdle(world.record) : world.record;
    const job = pick(jobsFor(record, world.self(node), world.views()), b);
    if (job === undefined) return false;
    world.count(job.kind);
    return start(world, node, 'background', () => begin(perform(world, node, job)));
  },
  'add-copy'(world, node, b) {
    const layer = pick(world.record.chain, b);
    const copy = { node: node.name, pool: node.pool };
    return layer ? world.change((v) => addReplica(v, layer.id, copy)) !== null : false;
  },
  'drop-copy'(world, _, b, c) {
    const layer = pick(world.record.chain, b);
    const victim = layer && pick(layer.replicas, c)?.node;
    if (layer === undefined || victim === undefined) return false;
    const done = world.change((v) => dropReplica(v, layer.id, victim)) !== null;
    if (done) world.count('copy dropped');
    return done;
  },
  'begin-merge'(world, node, b, c) {
    const from = b % Math.max(1, world.record.chain.length);
    const run = world.record.chain.slice(from, from + 2 + (c % 2)).map((l) => l.id);
    if (run.length < 2) return false;
    const by = c % 3 > 0 ? world.node(world.record.chain[from]?.authority ?? '') : node;
    const builder = { node: by.name, pool: by.pool };
    return world.change((v) => beginMerge(v, run, world.newId('m'), builder)) !== null;
  },
  'complete-merge'(world) {
    const into = world.record.merge?.into;
    if (into === undefined || world.change((v) => completeMerge(v, into)) === null) return false;
    world.count('merged');
    return true;
  },
  'abandon-merge'(world) {
    const into = world.record.merge?.into;
    return into === undefined ? false : world.change((v) => abandonMerge(v, into)) !== null;
  },
  'kill-head'(world, node) {
    const head = world.headOn(node.name);
    if (head) world.kill(head);
    return head !== undefined;
  },
  crash(world, node, b, c) {
    // Most often one that matters: a member of the layer that is being written.
    const members = unsealedLayer(world.record)?.members ?? [];
    const hit = c % 4 > 0 ? pick(members, Math.floor(b / 3))?.node : undefined;
    const victim = hit === undefined ? node : world.node(hit);
    if (!victim.up || !world.crash(victim, b % 3 > 0)) return false;
    victim.up = c % 3 > 0;
    return true;
  },
  reboot(_, node) {
    const was = node.up;
    node.up = true;
    return !was;
  },
  'restart-agent'(world, node) {
    world.endAgent(node);
    return true;
  },
  'late-swap'(world, _, b) {
    const late = pick(world.sent, b);
    if (late === undefined) return false;
    world.sent.splice(world.sent.indexOf(late), 1);
    world.deliver(late.expected, late.next);
    return true;
  },
  delete(world) {
    return world.change(markDeleted) !== null;
  },
} satisfies Record<string, Action>;

export type Kind = keyof typeof actions;
