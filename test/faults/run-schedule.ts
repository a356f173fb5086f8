/** Lets a schedule strike a scene, and says whether everything that is promised was kept. */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomOf } from '../../lab/random.ts';
import { errorText } from '../../src/errors.ts';
import type { Mend } from './fault.ts';
import { faultKind } from './fault-kinds.ts';
import { judge } from './register.ts';
import { Scene } from './scene.ts';
import { type Fault, printFault } from './schedule.ts';
import type { Stage } from './stage.ts';

/** When all faults are mended, everything must be healthy again within this time. */
export const recoverWithinMs = 60_000;
/** Machines work for so long before the schedule starts. */
const warmUpMs = 1_000;
/** So long a fault looks for what it is to strike, and so often. */
const findWithinMs = 30_000;
const findEveryMs = 100;
/** Longest description of one violation. */
const longestText = 4_000;

export type Outcome = {
  /** What was promised and not kept; empty when all is well. */
  violations: string[];
  /** Kinds of faults that struck, once for each time. */
  struck: string[];
  /** Faults that found nothing to strike. */
  missed: string[];
  operations: number;
  /** Blocks that only a register with unanswered writes seen and lost explains; no violation. */
  vanished: number;
  verifiedRuns: number;
  /** Requests that were answered with an error and repeated. */
  errors: number;
  recoveredMs: number;
  longestStallMs: number;
  /** Blocks that power cuts took out of disks' caches. */
  lostBlocks: number;
  scene: Scene;
};

export async function runSchedule(
  stage: Stage,
  schedule: readonly Fault[],
  seed: number,
): Promise<Outcome> {
  const scene = await Scene.create(stage, seed);
  const outcome: Outcome = {
    violations: [],
    struck: [],
    missed: [],
    operations: 0,
    vanished: 0,
    verifiedRuns: 0,
    errors: 0,
    recoveredMs: 0,
    longestStallMs: 0,
    lostBlocks: 0,
    scene,
  };
  const { lostBlocks } = stage;
  await scene.start();
  for (const { meter } of scene.clients) meter.reset();
  await sleep(warmUpMs);
  const began = performance.now();
  const running: Running = { stage, scene, outcome, seed, began, taken: new Map() };
  await Promise.all(schedule.map((fault) => strike(running, fault)));
  const healed = performance.now();
  outcome.lostBlocks = stage.lostBlocks - lostBlocks;
  await attempt(outcome, 'not healthy again', () => recover(scene, healed + recoverWithinMs));
  outcome.recoveredMs = performance.now() - healed;
  outcome.longestStallMs = Math.max(...scene.clients.map(({ meter }) => meter.longestMs()));
  await attempt(outcome, 'a machine cannot be shut down', () => scene.stop());
  await attempt(outcome, 'copies', () => compareCopies(scene, outcome));
  await attempt(outcome, 'a block cannot be read', () => scene.readEverywhere());
  judgeAll(scene, schedule, outcome);
  if (outcome.violations.length === 0) await scene.remove();
  return outcome;
}

async function attempt(outcome: Outcome, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    outcome.violations.push(`${what}: ${errorText(error).slice(0, longestText)}`);
  }
}

type Running = {
  stage: Stage;
  scene: Scene;
  outcome: Outcome;
  seed: number;
  began: number;
  /** For each host the end of the exclusive fault that has it: on a busy machine a boot takes long. */
  taken: Map<string, Promise<void>>;
};

/** One fault from its time to its mend. */
async function strike(running: Running, fault: Fault): Promise<void> {
  const { outcome, began, taken } = running;
  await sleep(Math.max(0, began + fault.atMs - performance.now()));
  await attempt(outcome, printFault(fault), async () => {
    if (!faultKind(fault.kind).exclusive) return strikeNow(running, fault);
    const hosts = await running.scene.hostsOf(fault.target);
    const before = hosts.map((host) => taken.get(host) ?? Promise.resolve());
    const over = Promise.withResolvers<void>();
    for (const host of hosts) taken.set(host, over.promise);
    await Promise.all(before);
    await strikeNow(running, fault).finally(over.resolve);
  });
}

async function strikeNow(running: Running, fault: Fault): Promise<void> {
  const { outcome } = running;
  const mend = await firstStrike(running, fault);
  if (mend === undefined) {
    outcome.missed.push(printFault(fault));
    return;
  }
  outcome.struck.push(fault.kind);
  await sleep(fault.forMs);
  await mend();
}

/** Strikes as soon as there is something to strike: another fault may just have taken it away. */
async function firstStrike(running: Running, fault: Fault): Promise<Mend | undefined> {
  const { stage, scene, seed } = running;
  const random = randomOf(seed + fault.atMs);
  const deadline = performance.now() + findWithinMs;
  for (;;) {
    const hosts = await scene.hostsOf(fault.target);
    const mend =
      hosts.length > 0
        ? await faultKind(fault.kind).strike({ stage, scene, hosts, random })
        : undefined;
    if (mend !== undefined || performance.now() > deadline) return mend;
    await sleep(findEveryMs);
  }
}

/** Resolves when every machine works again and every volume is whole. */
async function recover(scene: Scene, deadline: number): Promise<void> {
  const left = (): number => Math.max(1, deadline - performance.now());
  for (const [number, { meter }] of scene.clients.entries()) {
    const before = meter.answers;
    while (meter.answers === before) {
      if (performance.now() > deadline) {
        const { host } = scene.machines[number] ?? { host: '?' };
        const states = await scene.registers.show().then(({ summary }) => summary, errorText);
        throw new Error(`the machine on ${host} gets no answers: ${states}`);
      }
      await sleep(50);
    }
  }
  for (const volume of scene.volumes) await volume.whole(left());
}

async function compareCopies(scene: Scene, outcome: Outcome): Promise<void> {
  for (const volume of scene.volumes) {
    for (const differing of await volume.differingCopies(recoverWithinMs)) {
      outcome.violations.push(`copies of a sealed layer differ: ${differing}`);
    }
  }
}

function judgeAll(scene: Scene, schedule: readonly Fault[], outcome: Outcome): void {
  const { violations } = outcome;
  outcome.operations = scene.history.size;
  for (const [block, operations] of scene.history.blocks) {
    const verdict = judge(operations);
    if (verdict.right) {
      outcome.vanished += verdict.vanished ? 1 : 0;
      continue;
    }
    const stuck = verdict.stuck.slice(0, 8).map((operation) => JSON.stringify(operation));
    violations.push(`block ${block}: ${verdict.why}: ${stuck.join(' ')}`);
  }
  violations.push(...scene.fio.wrong.map((text) => `fio read what it had not written: ${text}`));
  outcome.verifiedRuns = scene.fio.verified;
  outcome.errors = scene.clients.reduce((sum, { errors }) => sum + errors, 0);
  const mayFail = schedule.some(({ kind }) => faultKind(kind).mayFailRequests === true);
  if (mayFail) return;
  if (outcome.errors > 0) violations.push(`${outcome.errors} requests of a guest failed`);
  violations.push(...scene.fio.errors.map((text) => `a request of fio failed: ${text}`));
}
