/** What the agents of the small world do, in the steps of the real ones (src/node). */
import type { Job } from '../../../src/cluster/jobs.ts';
import { markClean, recordManifest } from '../../../src/volume/copies.ts';
import { collectGarbage } from '../../../src/volume/delete.ts';
import { chooseAuthority, completeFencing, type Fenced } from '../../../src/volume/fence.ts';
import { markMergeClean, recordMergeBuilt } from '../../../src/volume/merge.ts';
import { cleanReplicas } from '../../../src/volume/queries.ts';
import { close, confirmOpen } from '../../../src/volume/roll.ts';
import type { UnsealedLayer, Volume } from '../../../src/volume/types.ts';
import type { World } from './world.ts';
import { overlay } from './world-checks.ts';
import { blockBytes, emptyCopy, type Task, type Wait, type WorldNode } from './world-types.ts';

type Steps = Generator<Wait, void, Volume | null>;

/** Makes a task of steps and runs it to its first wait. Null when it has nothing to do. */
export function begin(run: Steps): Task | null {
  const first = run.next(null);
  return first.done === true ? null : { run, wait: first.value };
}

/** Lets a task take its next step. Null when it has ended. */
export function advance(world: World, task: Task): Task | null {
  const outcome = task.wait === 'moment' ? null : world.change(task.wait.apply);
  const next = task.run.next(outcome);
  return next.done === true ? null : { run: task.run, wait: next.value };
}

/** Every member has the next layer, the old head is dead, the record says so, the new one serves. */
export function* completeRoll(world: World, node: WorldNode, ask: boolean): Steps {
  const { tail } = world.record;
  if (tail.phase !== 'opening' || tail.next.writer !== node.name) return;
  const { next, closing } = tail;
  const stray = world.headOn(node.name);
  if (stray !== undefined && stray.layer.id !== closing?.id) world.kill(stray);
  for (const member of next.members) {
    if (member.node === node.name) world.makeLayer(node, next);
    else if (!world.prepareLayer(member, next)) return;
    yield 'moment';
  }
  const clean = closing === null ? [] : endHead(world, node, closing, ask);
  yield 'moment';
  if (closing !== null && !world.faults.has('seals-without-sync'))
    world.sync(node.name, closing.id);
  const self = world.self(node);
  const confirmed = yield { apply: (v) => confirmOpen(v, next.id, self, clean) };
  if (confirmed === null) return;
  yield 'moment';
  world.serve(node, confirmed);
}

function endHead(world: World, node: WorldNode, layer: UnsealedLayer, ask: boolean): string[] {
  const head = world.headOn(node.name);
  if (head === undefined) return [];
  const graceful = ask && world.stop(head);
  if (head.alive) world.kill(head);
  return graceful ? layer.members.map((m) => m.node) : [];
}

/** The epoch was confirmed but its head never started. */
export function* startHead(world: World, node: WorldNode): Steps {
  const volume = world.record;
  const { tail } = volume;
  if (tail.phase !== 'open' || tail.layer.writer !== node.name) return;
  if (tail.layer.members[0]?.boot !== node.boot || node.burnt.has(tail.layer.id)) return;
  yield 'moment';
  world.serve(node, volume);
}

export function* closeVolume(world: World, node: WorldNode): Steps {
  const { tail } = world.record;
  if (tail.phase !== 'open' || tail.layer.writer !== node.name) return;
  const { layer } = tail;
  const clean = endHead(world, node, layer, true);
  yield 'moment';
  world.sync(node.name, layer.id);
  const self = world.self(node);
  yield { apply: (v) => close(v, layer.id, self, clean) };
}

/** Fences what can be reached of the write set, one by one, and seals what it wrote. */
export function* takeOver(world: World, node: WorldNode, askAll = false): Steps {
  const { tail } = world.record;
  if (tail.phase !== 'fencing' || tail.taker !== node.name) return;
  const answers: Fenced[] = [];
  for (const [i, { node: name }] of tail.unsealed.members.entries()) {
    yield 'moment';
    const member = world.node(name);
    const unreachable = !askAll && (world.dice + i) % 3 === 0;
    if (!member.up || unreachable) continue;
    const { layers, ...answer } = world.fence(member, tail.epoch);
    answers.push({ ...answer, holds: layers.includes(tail.unsealed.id) });
  }
  if (chooseAuthority(tail.unsealed, answers, node.name) === undefined) return;
  yield { apply: (v) => completeFencing(v, node.name, answers, node.name) };
}

/** One background job of this node, as `jobsFor` names it. */
export function perform(world: World, node: WorldNode, job: Job): Steps {
  switch (job.kind) {
    case 'manifest':
      return prove(node, job.layer);
    case 'mend':
      return mend(world, node, job);
    case 'merge':
      return build(world, node, job.into);
    case 'delete':
      return remove(world, node, job.layers);
  }
}

function* prove(node: WorldNode, layer: string): Steps {
  const copy = node.disk.get(layer);
  if (copy === undefined) throw new Error(`${node.name} shall hash ${layer} and has it not`);
  const root = copy.cached.join();
  yield { apply: (v) => recordManifest(v, layer, { root, bytes: 1 }) };
}

function* mend(world: World, node: WorldNode, job: Extract<Job, { kind: 'mend' }>): Steps {
  const { layer, epoch, from, root, ofMerge } = job;
  const source = world.node(from);
  if (!source.up || !world.holdsClean(from, layer)) return;
  const content = [...(source.disk.get(layer)?.cached ?? [])];
  if (content.join() !== root) throw new Error(`${from} shows ${content} of ${layer}, not ${root}`);
  const mark = (v: Volume) =>
    ofMerge ? markMergeClean(v, layer, node.name) : markClean(v, layer, world.self(node));
  if (world.faults.has('marks-before-it-mends')) yield { apply: mark };
  if (!ofMerge && !world.faults.has('mends-without-fence')) world.fence(node, epoch + 1);
  world.epochs.set(layer, epoch);
  const copy = node.disk.get(layer) ?? emptyCopy();
  node.disk.set(layer, copy);
  copy.cached[0] = content[0] ?? 0;
  yield 'moment';
  copy.cached = content;
  copy.stable = [...content];
  if ((yield { apply: mark }) !== null) world.count('mended');
}

function* build(world: World, node: WorldNode, into: string): Steps {
  const { merge, chain } = world.record;
  if (merge === null) return;
  const run = chain.filter((l) => merge.layers.includes(l.id));
  const top = run.at(-1);
  const inputs = run.map((l) => node.disk.get(l.id));
  if (top === undefined || inputs.includes(undefined)) return;
  // What is behind the end of the new file has no room in it.
  const largest = world.faults.has('merges-into-the-smallest') ? run[0] : top;
  const room = (largest?.sizeBytes ?? 0) / blockBytes;
  const seen = overlay(inputs.map((copy) => copy?.cached ?? []));
  const content = seen.map((number, block) => (block < room ? number : 0));
  world.epochs.set(into, top.epoch);
  node.disk.set(into, emptyCopy());
  yield 'moment';
  node.disk.set(into, emptyCopy(content));
  const targets = cleanReplicas(top)
    .filter((r) => r.node !== node.name)
    .map((r) => ({ node: r.node, pool: r.pool }));
  const proof = { root: content.join(), bytes: 1 };
  const built = yield { apply: (v) => recordMergeBuilt(v, into, proof, targets) };
  if (built !== null) world.count('merge built');
}

function* remove(world: World, node: WorldNode, layers: readonly { layer: string }[]): Steps {
  for (const { layer } of layers) {
    node.disk.delete(layer);
    world.count('file deleted');
  }
  yield 'moment';
  const ids = layers.map((l) => l.layer);
  yield { apply: (v) => collectGarbage(v, node.name, ids) };
}
