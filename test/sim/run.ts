import { type ChildProcess, fork } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import type { HistoryResult, LengthName } from './history.ts';
import type { Counts } from './world.ts';

const childProgram = fileURLToPath(new URL('run-child.ts', import.meta.url));
/** Histories that a child gets at a time. */
const portion = 25;
/** A history that takes longer than this spins without events. */
const hungAfterMs = 120_000;
const sayEveryMs = 10_000;
/** After this many failures it is not worth going on. */
const mostFailures = 20;

export type RunOptions = {
  histories: number;
  milliseconds: number;
  jobs: number;
  /** The first seed; the others follow. */
  from: number;
  length?: LengthName;
  say: (line: string) => void;
};

export type RunReport = {
  done: number;
  failed: HistoryResult[];
  simulatedMs: number;
  realMs: number;
  counts: Counts;
  /** The hash of each history's trace, by its seed. */
  hashes: Map<number, string>;
};

/** Runs histories in child processes until enough are done, the time is up, or too many failed. */
export async function runMany(options: RunOptions): Promise<RunReport> {
  const begun = performance.now();
  const report: RunReport = {
    done: 0,
    failed: [],
    simulatedMs: 0,
    realMs: 0,
    counts: {},
    hashes: new Map(),
  };
  const last = options.from + options.histories;
  const { length = 'long' } = options;
  let next = options.from;
  const elapsed = () => performance.now() - begun;
  const enough = () => elapsed() >= options.milliseconds || report.failed.length >= mostFailures;
  const take = (result: HistoryResult) => {
    report.done += 1;
    report.simulatedMs += result.simulatedMs;
    report.hashes.set(result.seed, result.hash);
    for (const [what, n] of Object.entries(result.counts)) {
      report.counts[what] = (report.counts[what] ?? 0) + n;
    }
    if (result.ok) return;
    report.failed.push(result);
    options.say(failureText(result, length));
  };
  const progress = setInterval(() => options.say(rate(report, elapsed())), sayEveryMs);
  const job = async () => {
    let child: ChildProcess | null = null;
    while (next < last && !enough()) {
      const from = next;
      const count = Math.min(portion, last - from);
      next += count;
      child ??= fork(childProgram, {
        serialization: 'json',
        execArgv: ['--max-semi-space-size=64'],
      });
      if (!(await runPortion(child, { from, count, length }, take, enough))) {
        child.kill('SIGKILL');
        child = null;
      }
    }
    child?.kill('SIGKILL');
  };
  await Promise.all(Array.from({ length: options.jobs }, job));
  clearInterval(progress);
  report.realMs = elapsed();
  options.say(`${rate(report, report.realMs)}\n${countsText(report.counts)}`);
  return report;
}

/** @returns false when the child cannot be used any more. */
function runPortion(
  child: ChildProcess,
  wanted: { from: number; count: number; length: LengthName },
  take: (result: HistoryResult) => void,
  enough: () => boolean,
): Promise<boolean> {
  return new Promise((resolve) => {
    let seed = wanted.from;
    let timer: NodeJS.Timeout;
    const end = (usable: boolean) => {
      clearTimeout(timer);
      child.off('message', heard);
      child.off('exit', exited);
      resolve(usable);
    };
    const lost = (error: string) => {
      take({
        seed,
        ok: false,
        error,
        trace: [],
        hash: '',
        simulatedMs: 0,
        events: 0,
        counts: {},
      });
      end(false);
    };
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => lost('it spins without events'), hungAfterMs);
    };
    const heard = (message: unknown) => {
      if (message === 'done') return end(true);
      take(message as HistoryResult);
      seed += 1;
      if (enough()) return end(false);
      wait();
    };
    const exited = () => lost('its process ended');
    child.on('message', heard);
    child.on('exit', exited);
    wait();
    child.send(wanted);
  });
}

function failureText({ seed, error, trace }: HistoryResult, length: LengthName): string {
  return [
    '',
    ...trace,
    `seed ${seed} failed: ${error}`,
    `again with: node test/sim/main.ts --seed ${seed}${length === 'short' ? ' --short' : ''} --trace`,
    '',
  ].join('\n');
}

function rate({ done, failed, simulatedMs }: RunReport, realMs: number): string {
  const seconds = realMs / 1_000;
  return (
    `${done} histories in ${seconds.toFixed(0)} s (${(done / seconds).toFixed(1)}/s), ` +
    `${(simulatedMs / 3_600_000).toFixed(1)} h simulated, ` +
    `${Math.round(simulatedMs / Math.max(1, realMs))} times real time, ${failed.length} failed`
  );
}

function countsText(counts: Counts): string {
  const entries = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([what, n]) => `  ${what}: ${n}`).join('\n');
}
