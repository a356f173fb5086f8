/**
 * What a guest notices of one fault: the longest time without an answer, by runs with that fault
 * alone. Every figure is of the run that is printed, on the machine that it ran on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { faultKind } from './fault-kinds.ts';
import { recoverWithinMs } from './run-schedule.ts';
import { Scene } from './scene.ts';
import { Stage } from './stage.ts';
import type { FaultVolume } from './volume.ts';

const runsEach = 3;
/** The guest works for so long before the fault, and after it. */
const aroundMs = 1_500;
/** Longer than any stall that is measured. */
const faultMs = 7_000;
/** A member is away for so long where the bytes of mends are counted. */
const outageMs = 8_000;

type Figure = {
  name: string;
  /** What is hoped for on an idle machine, in milliseconds. */
  goalMs: number;
  /** @returns the longest stall, in milliseconds */
  run(stage: Stage): Promise<number>;
};

/** Guests on the hosts, warmed up; removed when `work` is done. */
async function withGuest<T>(
  stage: Stage,
  hosts: readonly string[],
  work: (scene: Scene) => Promise<T>,
): Promise<T> {
  const scene = await Scene.create(stage, 1, { hosts, fio: false });
  await scene.start();
  await scene.registers.whole(recoverWithinMs);
  await sleep(aroundMs);
  const result = await work(scene);
  await scene.registers.whole(recoverWithinMs);
  await scene.stop();
  await scene.remove();
  return result;
}

/** Lets a fault strike, and returns the longest time in which the client `number` got no answer. */
async function stallOf(
  stage: Stage,
  scene: Scene,
  kind: string,
  target: string,
  number = 0,
): Promise<number> {
  const meter = scene.clients[number]?.meter;
  const hosts = await scene.hostsOf(target);
  meter?.reset();
  const mend = await faultKind(kind).strike({ stage, scene, hosts, random: Math.random });
  if (mend === undefined) throw new Error(`${kind} finds no ${target}`);
  await sleep(faultMs);
  const longest = meter?.longestMs() ?? Number.NaN;
  await mend();
  return longest;
}

function ofFault(name: string, goalMs: number, kind: string, target: string): Figure {
  const run = (stage: Stage): Promise<number> =>
    withGuest(stage, ['n1'], (scene) => stallOf(stage, scene, kind, target));
  return { name, goalMs, run };
}

/** The time from the death of the guest's node until another node serves the volume. */
async function takeOver(stage: Stage): Promise<number> {
  const scene = await Scene.create(stage, 1, { hosts: ['n1', 'n2'], fio: false });
  const [first, second] = scene.machines;
  const other = scene.clients[1];
  first?.start();
  await first?.attached();
  await scene.registers.whole(recoverWithinMs);
  await sleep(aroundMs);
  const died = performance.now();
  await stage.powerCut('n1', 1);
  second?.start();
  while (other?.meter.answers === 0) await sleep(5);
  const served = performance.now() - died;
  await stage.boot('n1');
  await first?.attached();
  await scene.registers.whole(recoverWithinMs);
  await scene.stop();
  await scene.remove();
  return served;
}

/** The guest on n2 goes on while the one on n1, beside the head, is shut down. */
function handOver(stage: Stage): Promise<number> {
  return withGuest(stage, ['n1', 'n2'], (scene) => stallOf(stage, scene, 'hand-over', 'writer', 1));
}

const figures: readonly Figure[] = [
  { name: 'nothing, for comparison', goalMs: 0, run: quiet },
  ofFault('a reflection loses its power', 4_000, 'power-cut', 'reflection'),
  ofFault("a reflection's server is killed", 1_000, 'kill-replica-server', 'reflection'),
  ofFault('a reflection is frozen', 4_000, 'freeze-node', 'reflection'),
  ofFault('a reflection is cut off', 4_000, 'cut', 'reflection'),
  ofFault('the head is killed', 1_000, 'kill-head', 'writer'),
  ofFault("the writer's daemon is killed", 0, 'kill-daemon', 'writer'),
  ofFault('etcd is killed', 0, 'kill-etcd', 'store'),
  { name: 'hand-over, planned', goalMs: 300, run: handOver },
  { name: 'take-over, asked for at once', goalMs: 10_000, run: takeOver },
];

function quiet(stage: Stage): Promise<number> {
  return withGuest(stage, ['n1'], async ({ clients: [client] }) => {
    client?.meter.reset();
    await sleep(faultMs);
    return client?.meter.longestMs() ?? Number.NaN;
  });
}

/** Bytes that nodes fetched after a reflection was away, and bytes that were written meanwhile. */
async function mendedBytes(stage: Stage): Promise<{ fetched: number; written: number }> {
  return withGuest(stage, ['n1'], async (scene) => {
    const hosts = await scene.hostsOf('reflection');
    const { history, registers } = scene;
    const [writtenBefore, fetchedBefore] = [history.writtenBytes, await fetched(stage, registers)];
    const { strike } = faultKind('cut');
    const mend = await strike({ stage, scene, hosts, random: Math.random });
    await sleep(outageMs);
    const written = history.writtenBytes - writtenBefore;
    await mend?.();
    await registers.whole(recoverWithinMs);
    return { fetched: (await fetched(stage, registers)) - fetchedBefore, written };
  });
}

/** What all nodes have fetched for a volume's copies since it was made. */
async function fetched(stage: Stage, { name }: FaultVolume): Promise<number> {
  type Told = { events: { type: string; values?: { bytes?: number } }[] };
  const path = `/v1/events?follow=false&volume=${name}`;
  const told = await Promise.all(stage.lab.nodes.map(({ api }) => api.call<Told>('GET', path)));
  return told
    .flatMap(({ events }) => events)
    .filter(({ type }) => type === 'layer.mended')
    .reduce((sum, { values }) => sum + (values?.bytes ?? 0), 0);
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** Runs the figures whose name has `part` in it and prints the table; true when all were had. */
export async function printFigures(part = ''): Promise<boolean> {
  const stage = await Stage.create();
  try {
    console.log(`longest time without an answer, ${runsEach} runs of each, milliseconds`);
    console.log(`${'fault'.padEnd(34)} ${'goal'.padStart(7)}   runs`);
    for (const { name, goalMs, run } of figures.filter((figure) => figure.name.includes(part))) {
      const runs: string[] = [];
      for (let time = 0; time < runsEach; time += 1) {
        runs.push(String(Math.round(await run(stage))).padStart(6));
      }
      console.log(`${name.padEnd(34)} ${String(goalMs).padStart(7)}   ${runs.join(' ')}`);
    }
    if ('mend'.includes(part)) {
      const { fetched: bytes, written } = await mendedBytes(stage);
      const away = `a reflection was away for ${outageMs / 1_000} s`;
      console.log(`mend: ${away}; ${mib(written)} were written, ${mib(bytes)} fetched`);
    }
    return true;
  } finally {
    await stage.destroy();
  }
}
