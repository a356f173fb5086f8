/**
 * `node test/faults/main.ts`: lets random schedules of faults strike a real cluster, one after the
 * other, until the time is up, and ends with status 1 when a promise was not kept.
 */
import { parseArgs } from 'node:util';
import { errorText } from '../../src/errors.ts';
import { keepEvidence } from './evidence.ts';
import { faultKind, faultKinds } from './fault-kinds.ts';
import { printFigures } from './figures.ts';
import { type Outcome, runSchedule } from './run-schedule.ts';
import { type Fault, parseSchedule, printSchedule, randomSchedule } from './schedule.ts';
import { nodeNames, Stage } from './stage.ts';

const usage = `usage: node test/faults/main.ts [options]
  --minutes N        how long schedules are begun (default 5)
  --seed S           seed of the first schedule; the next ones follow from it (default: the time)
  --only KIND,KIND   only these faults
  --schedule TEXT    this one schedule, as it was printed, with --seed as it was printed
  --figures          measures what guests notice of single faults instead; with --only TEXT
                     those whose name has TEXT in it
kinds: ${faultKinds.map(({ kind }) => kind).join(', ')}`;

/** After so many schedules a cluster is replaced by a new one. */
const schedulesACluster = 8;

/** Violations of one schedule that are printed. */
const most = 5;

type Counts = Map<string, { struck: number; longestStallMs: number }>;

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(1)} s`;
}

function told(outcome: Outcome): string {
  const parts = [
    `${outcome.operations} operations`,
    `${outcome.verifiedRuns} verified runs of fio`,
    `longest stall ${seconds(outcome.longestStallMs)}`,
    `healthy after ${seconds(outcome.recoveredMs)}`,
  ];
  if (outcome.errors > 0) parts.push(`${outcome.errors} failed requests repeated`);
  if (outcome.lostBlocks > 0) parts.push(`${outcome.lostBlocks} blocks lost with power`);
  if (outcome.vanished > 0) parts.push(`${outcome.vanished} blocks with a write seen and lost`);
  if (outcome.missed.length > 0) parts.push(`nothing to strike: ${outcome.missed.join(', ')}`);
  return parts.join('; ');
}

function count(counts: Counts, { struck, longestStallMs }: Outcome): void {
  for (const kind of struck) {
    const known = counts.get(kind) ?? { struck: 0, longestStallMs: 0 };
    // Of a schedule with several faults nobody knows which one it was.
    const longest = Math.max(known.longestStallMs, longestStallMs);
    counts.set(kind, { struck: known.struck + 1, longestStallMs: longest });
  }
}

function printCounts(counts: Counts, schedules: number, failed: number): void {
  console.log(`\n${schedules} schedules, ${failed} with a violation`);
  console.log('fault                     struck   longest stall of a schedule with it');
  for (const [kind, { struck, longestStallMs }] of [...counts].sort()) {
    console.log(`${kind.padEnd(24)} ${String(struck).padStart(7)}   ${seconds(longestStallMs)}`);
  }
  const never = faultKinds.filter(({ kind }) => !counts.has(kind)).map(({ kind }) => kind);
  if (never.length > 0) console.log(`never struck: ${never.join(', ')}`);
}

type Run = { seed: number; schedule: readonly Fault[] };

/** @returns whether every promise was kept */
async function soak(next: (number: number) => Run | undefined): Promise<boolean> {
  const counts: Counts = new Map();
  let failed = 0;
  let number = 0;
  let stage: Stage | undefined;
  try {
    for (let run = next(number); run !== undefined; run = next(number)) {
      if (number % schedulesACluster === 0) {
        await stage?.destroy();
        stage = undefined;
      }
      stage ??= await Stage.create();
      number += 1;
      console.log(`#${number} seed ${run.seed}: ${printSchedule(run.schedule)}`);
      const outcome = await runSchedule(stage, run.schedule, run.seed);
      count(counts, outcome);
      if (outcome.violations.length === 0) {
        console.log(`   right: ${told(outcome)}`);
        continue;
      }
      failed += 1;
      const directory = keepEvidence(stage, run.seed, run.schedule, outcome);
      const { violations } = outcome;
      for (const violation of violations.slice(0, most)) console.log(`   VIOLATION: ${violation}`);
      if (violations.length > most) console.log(`   and ${violations.length - most} more`);
      console.log(`   ${told(outcome)}; evidence: ${directory}`);
      await stage.destroy();
      stage = undefined;
    }
  } finally {
    await stage?.destroy();
  }
  printCounts(counts, number, failed);
  return failed === 0;
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      only: { type: 'string' },
      schedule: { type: 'string' },
      figures: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return true;
  }
  if (values.figures) return printFigures(values.only);
  const first = Number(values.seed);
  if (values.schedule !== undefined) {
    const schedule = parseSchedule(values.schedule);
    return soak((number) => (number === 0 ? { seed: first, schedule } : undefined));
  }
  const choices = values.only?.split(',').map(faultKind) ?? faultKinds;
  const end = performance.now() + Number(values.minutes) * 60_000;
  return soak((number) => {
    if (performance.now() > end) return undefined;
    const seed = first + number;
    return { seed, schedule: randomSchedule(seed, nodeNames, choices) };
  });
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  console.error(errorText(error));
  process.exitCode = 1;
}
