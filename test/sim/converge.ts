import { isNameless, isUnneededBase } from '../../src/volume/delete.ts';
import { pendingEpisodes } from '../../src/volume/episodes.ts';
import { describeVolume } from '../../src/volume/health.ts';
import { isTooLong, snapshotsOf } from '../../src/volume/marks.ts';
import type { Volume } from '../../src/volume/types.ts';
import { Violation } from './core.ts';
import { blocksOf } from './disk.ts';
import type { User } from './workload.ts';
import type { World } from './world.ts';

/** After the last fault everything is in order again within this time, milliseconds. */
const convergeWithinMs = 120_000;
const lookEveryMs = 250;
/** After everything was deleted nothing is left within this time, milliseconds. */
const clearWithinMs = 60_000;
const callTimeoutMs = 15_000;

/** Ends all faults, boots everything. */
export function healEverything(world: World): void {
  const { processes, network, etcd, nodes, core } = world;
  core.trace.note('history', 'no more faults');
  network.healAll();
  etcd.start();
  etcd.wake();
  world.duplicates = 0;
  for (const target of world.targets.values()) target.down = false;
  for (const node of nodes) {
    node.lagMs = 0;
    node.thaw();
    node.thawDaemon();
    node.boot();
    const disk = processes.disk(node.machine);
    disk.setFull(false);
    disk.failWrites(0);
    disk.slow(0);
    processes.setSpawnFailures(node.machine, 0);
  }
}

/**
 * Sees to it that every volume comes back into order by itself: guests finish what they asked for,
 * a volume that nobody uses can be attached, all copies become clean, all work ends.
 */
export async function converge(world: World, users: readonly User[]): Promise<void> {
  const { scheduler } = world.core;
  const until = scheduler.now() + convergeWithinMs;
  for (const user of users) await serve(world, user, until);
  await inOrder(world, until, () => users.flatMap((user) => tooSmall(user)));
}

/** Waits until nothing is left to be done. */
export async function inOrder(
  world: World,
  until = world.core.scheduler.now() + convergeWithinMs,
  more: () => string[] = () => [],
): Promise<void> {
  const { scheduler } = world.core;
  for (;;) {
    const waiting = [...unfinished(world), ...more()];
    if (waiting.length === 0) return;
    if (scheduler.now() > until) {
      throw new Violation(
        `not in order after ${convergeWithinMs / 1_000} s: ${waiting.join('; ')}`,
      );
    }
    await scheduler.sleep(lookEveryMs);
  }
}

/** A guest's disk is as large as the volume: every process on the way to it shows the size. */
function tooSmall(user: User): string[] {
  const { name, consumer } = user;
  const wanted = blocksOf(user.record()?.sizeBytes ?? 0);
  if (consumer?.running !== true || consumer.blocks === wanted) return [];
  return [`the guest of ${name} sees ${consumer.blocks} blocks of ${wanted}`];
}

/** The user's guest runs and everything it asked for is answered. */
async function serve(world: World, user: User, until: number): Promise<void> {
  const { scheduler, random } = world.core;
  if (user.id === null || user.record() === undefined) return;
  while (scheduler.now() < until) {
    user.bury();
    const record = user.record();
    if (record === undefined || isNameless(record)) return;
    const { consumer } = user;
    if (consumer === null) {
      await user.startGuest(random.pick(world.nodes));
      await scheduler.sleep(lookEveryMs);
      continue;
    }
    consumer.pause();
    if (await settlesWithin(world, consumer, 5_000)) {
      consumer.resume();
      await scheduler.sleep(random.int(500, 2_000));
      consumer.pause();
      if (await settlesWithin(world, consumer, 20_000)) return;
    }
  }
  throw new Violation(`the guest of ${user.name} is not served after the last fault`);
}

async function settlesWithin(
  { core }: World,
  consumer: { settled(): Promise<void>; running: boolean },
  milliseconds: number,
): Promise<boolean> {
  const settled = consumer.settled().then(() => consumer.running);
  return Promise.race([settled, core.scheduler.sleep(milliseconds).then(() => false)]);
}

/** What is not as it should be in the end, one sentence each. */
function unfinished(world: World): string[] {
  const views = world.nodeViews();
  if (views.length < world.nodes.length || views.some((n) => n.lease === null)) {
    return ['a node is down'];
  }
  return world.volumes().flatMap((volume) => {
    const report = describeVolume(volume, views, []);
    const { name, tail } = volume;
    if (tail.phase === 'deleting') return [`${name} is not deleted`];
    const wrong = report.findings.filter(({ what }) => !isLost(world, volume, what));
    if (wrong.length > 0) return [`${name}: ${wrong[0]?.what}`];
    const [attachment] = volume.attachments;
    const host = attachment && world.node(attachment.host).machine;
    if (volume.view !== undefined && (attachment === undefined || host?.boot !== attachment.boot)) {
      return [`${name}: nobody looks at it, and it is there`];
    }
    return [...work(volume)].map((text) => `${name}: ${text}`);
  });
}

/**
 * A copy may rot unseen after the last look at it, and the others be given up as not needed any more.
 * Then nothing has the content, and saying so is all that can be done.
 */
function isLost({ checker }: World, { chain }: Volume, finding: string): boolean {
  const rotted = chain.some((l) =>
    checker.disks.some((disk) => checker.isRotten(disk.machine.name, l.id)),
  );
  return rotted && finding.includes('right on no node');
}

function* work(volume: Volume): Generator<string> {
  if (volume.merge !== null) yield 'a merge is under way';
  if (volume.garbage.length > 0) yield 'garbage is left';
  if (isTooLong(volume)) yield 'the chain is too long';
  if (isUnneededBase(volume)) yield 'no clone needs it';
  if (volume.importing !== undefined) yield 'it is being imported';
  if (volume.flatten !== undefined) yield 'it is not flattened';
  if (volume.compact !== undefined) yield 'it is not compacted';
  if (pendingEpisodes(volume).length > 0) yield 'an episode is not shipped';
  if (volume.leaving !== undefined) yield 'it has not left its parent';
  if (volume.chain.some((l) => l.replicas.some((r) => r.state !== 'clean'))) {
    yield 'a copy is not clean';
  }
  if (volume.chain.some((l) => l.manifest === null)) yield 'a layer is not proven';
}

/** Deletes all volumes, in any order; then no record and, as `checkFinal` sees, no file is left. */
export async function clearAway(world: World): Promise<void> {
  const { scheduler, random, trace } = world.core;
  trace.note('history', 'everything is deleted');
  const until = scheduler.now() + clearWithinMs;
  while (world.volumes().length > 0) {
    const named = world.volumes().filter((v) => !isNameless(v));
    if (named.length > 0) {
      const volume = random.pick(named);
      const { id, attachments, view } = volume;
      await random.pick(world.nodes).ask(callTimeoutMs, async (service, signal) => {
        if (view !== undefined) {
          const shown = { volume: view.of, snapshot: view.snapshot?.id ?? '' };
          await service.views.detach(shown, attachments[0]?.host ?? '', signal);
          return;
        }
        for (const snapshot of snapshotsOf(volume).filter((s) => s.protected)) {
          await service.snapshots.protect(id, snapshot.id, false);
        }
        for (const { host } of attachments) await service.detach(id, host, signal);
        await service.deleteVolume(id, { snapshots: true });
      });
    }
    if (scheduler.now() > until) {
      const left = world.volumes().map((v) => `${v.name} (${v.role ?? v.tail.phase})`);
      throw new Violation(`left after everything was deleted: ${left.join(', ')}`);
    }
    await scheduler.sleep(lookEveryMs);
  }
}
