/** The data plane: every row on every kind of target, in turns. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LabCluster } from '../lab/cluster.ts';
import type { FileAccess } from '../src/engine/graphs.ts';
import { copiesWanted, policyNamed } from '../src/volume/policy.ts';
import { fill, type Measurement, measure } from './measure.ts';
import type { BenchOptions } from './options.ts';
import { RawServer } from './raw-server.ts';
import { type Row, rows } from './rows.ts';
import type { Kind, Target } from './target.ts';
import { attachedVolume, removeVolume } from './volumes.ts';

/** Quiet time after a volume was made: the next layers are prepared meanwhile. */
const settleMs = 400;

const volumeKind = (policy: string): Kind => {
  const found = policyNamed(policy);
  const { name, maxIops } = found;
  return { kind: 'volume', name, policy: name, copies: copiesWanted(found), maxIops };
};

/** The columns, the two that all others are compared with first. */
export const kinds: Kind[] = [
  { kind: 'raw', name: 'raw write-back', writethrough: false, copies: 1 },
  { kind: 'raw', name: 'raw writethrough', writethrough: true, copies: 1 },
  ...['Bronze', 'Silver', 'Gold'].map(volumeKind),
];

export type Bench = {
  cluster: LabCluster;
  access: FileAccess;
  options: BenchOptions;
  say: (text: string) => void;
};

export type DataPlaneRun = {
  measurements: Measurement[];
  /** The head of each filled volume, which has served all rounds. */
  heads: { volume: string; pid: number }[];
};

type Made = { target: Target; remove: () => Promise<void> };

/** Makes the filled targets, measures all rows on all of them, then fresh ones, round by round. */
export async function measureDataPlane(bench: Bench): Promise<DataPlaneRun> {
  const { filledBytes, rounds } = bench.options;
  bench.say(`filling ${kinds.length} targets of ${filledBytes / (1 << 20)} MiB`);
  const filled = await makeFilled(bench);
  await delay(settleMs);
  const measurements: Measurement[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const row of rows) {
      for (const kind of kinds) {
        const done = row.fresh
          ? await onFresh(bench, row, kind, round)
          : await onTarget(bench, { row, target: targetOf(filled, kind), round }, filledBytes);
        measurements.push(done);
        const rate = row.bs >= 1 << 20 ? done.bytesPerSecond / 1e6 : done.iops;
        bench.say(`round ${round}: ${row.name}: ${kind.name}: ${rate.toFixed(0)}`);
      }
    }
  }
  const heads = kinds
    .filter((kind) => kind.kind === 'volume')
    .map((kind) => ({ volume: kind.name, pid: targetOf(filled, kind).servers()[0] ?? 0 }));
  return { measurements, heads };
}

function targetOf(made: Map<string, Target>, kind: Kind): Target {
  const target = made.get(kind.name);
  if (target === undefined) throw new RangeError(`no target ${kind.name}`);
  return target;
}

async function makeFilled(bench: Bench): Promise<Map<string, Target>> {
  const targets = new Map<string, Target>();
  const { filledBytes } = bench.options;
  // Both raw columns are the same file: what it is on disk cannot differ.
  const raw = await RawServer.start(rawDirectory(bench), filledBytes, bench.access);
  for (const kind of kinds) {
    const target =
      kind.kind === 'raw'
        ? rawTarget(raw, kind)
        : (await makeVolume(bench, kind, `filled-${kind.name}`, filledBytes)).target;
    targets.set(kind.name, target);
    await fill(target, filledBytes);
  }
  return targets;
}

const rawDirectory = (bench: Bench): string => join(bench.cluster.directory, 'raw');

function rawTarget(raw: RawServer, kind: Extract<Kind, { kind: 'raw' }>): Target {
  return { name: kind.name, uri: raw.uri(kind.writethrough), servers: () => [raw.pid] };
}

async function makeVolume(
  bench: Bench,
  kind: Extract<Kind, { kind: 'volume' }>,
  name: string,
  sizeBytes: number,
): Promise<Made> {
  const { cluster, options } = bench;
  const wish = { name, policy: kind.policy, sizeBytes, liftLimit: !options.keepLimits };
  const target = await attachedVolume(cluster, wish);
  return { target: { ...target, name: kind.name }, remove: () => removeVolume(cluster, name) };
}

/** First writes: each measurement has a file or a volume of its own. */
async function onFresh(bench: Bench, row: Row, kind: Kind, round: number): Promise<Measurement> {
  const { freshBytes } = bench.options;
  const { target, remove } = await makeFresh(bench, kind, `fresh-${kind.name}-${round}`);
  await delay(settleMs);
  const done = await onTarget(bench, { row, target, round }, freshBytes);
  await remove();
  return done;
}

async function makeFresh(bench: Bench, kind: Kind, name: string): Promise<Made> {
  const { freshBytes } = bench.options;
  if (kind.kind === 'volume') return makeVolume(bench, kind, name, freshBytes);
  const raw = await RawServer.start(rawDirectory(bench), freshBytes, bench.access);
  return { target: rawTarget(raw, kind), remove: () => raw.remove() };
}

async function onTarget(
  bench: Bench,
  cell: { row: Row; target: Target; round: number },
  sizeBytes: number,
): Promise<Measurement> {
  const directory = join(bench.cluster.directory, 'fio');
  return measure(cell, { directory, sizeBytes, seconds: bench.options.seconds });
}
