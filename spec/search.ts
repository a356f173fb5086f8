/** Runs one search of the model in a directory of its own: spin, the compiler, the searcher. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Settings = Record<string, number>;

export type Search = {
  name: string;
  set: Settings;
  /** A macro that switches a rule off. */
  without?: string;
  /**
   * `exhaustive` visits every state; `shortest` stops at the shortest counterexample; `bitstate`
   * keeps one bit a state and may miss some.
   */
  how: 'exhaustive' | 'shortest' | 'bitstate';
  /** Longest path that is followed. */
  depth: number;
  memoryMegabytes: number;
  seconds: number;
};

/**
 * - `holds`: every state was visited and nothing is wrong.
 * - `nothing-found`: a bitstate search came to its end.
 * - `violated`: there is a counterexample; `steps` are its.
 * - `unfinished`: time, memory or depth ran out, so nothing is known.
 */
export type Outcome = {
  name: string;
  result: 'holds' | 'nothing-found' | 'violated' | 'unfinished';
  /** What is violated, or why it did not finish. */
  text: string;
  states: number;
  depth: number;
  seconds: number;
  steps: string[];
};

const model = fileURLToPath(new URL('hyperscale.pml', import.meta.url));
const running = new Set<ChildProcess>();
let stopped = false;

/** Ends every search that runs, and removes its directory; none begins any more. */
export function stopSearches(): void {
  stopped = true;
  for (const child of running) end(child);
}

/** Also what it started: the compiler is a driver and its parts. */
function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself this moment.
  }
}

/** @throws Error when the model does not compile. */
export async function search(wanted: Search): Promise<Outcome> {
  const directory = await mkdtemp(join(tmpdir(), 'hyperscale-spec-'));
  try {
    const settings = { ...wanted.set, ...(wanted.how === 'shortest' ? { BREADTH_FIRST: 1 } : {}) };
    const defines = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
    if (wanted.without !== undefined) defines.push(`-D${wanted.without}`);
    await mustRun(directory, 'spin', ['-a', ...defines, model]);
    await mustRun(directory, 'gcc', [...compilerOptions(wanted), '-o', 'pan', 'pan.c']);
    const began = performance.now();
    const options = [`-m${wanted.depth}`, ...(wanted.how === 'bitstate' ? ['-w33'] : [])];
    // Only with PROGRESS is an end of a run an error.
    if (wanted.set.PROGRESS === undefined) options.push('-E');
    const { output, ended } = await run(directory, './pan', options, wanted.seconds * 1_000);
    const seconds = (performance.now() - began) / 1_000;
    return { name: wanted.name, seconds, ...(await read(wanted, directory, output, ended)) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function compilerOptions({ how, memoryMegabytes }: Search): string[] {
  const common = ['-w', '-DSAFETY', '-DNOREDUCE', '-DNOBOUNDCHECK', `-DMEMLIM=${memoryMegabytes}`];
  if (how === 'shortest') return [...common, '-O0', '-DBFS'];
  return [...common, '-O2', ...(how === 'bitstate' ? ['-DBITSTATE'] : [])];
}

type Reading = Pick<Outcome, 'result' | 'text' | 'states' | 'depth' | 'steps'>;

async function read(
  wanted: Search,
  directory: string,
  output: string,
  ended: boolean,
): Promise<Reading> {
  const states =
    lastNumber(output, /([\d.e+]+) states, stored/g) || lastNumber(output, /States= *([\d.e+]+)/g);
  const depth = lastNumber(output, /depth reached (\d+)/g);
  const found = /pan:\d*:? *(assertion violated|invalid end state)/.exec(output);
  if (found !== null) {
    const steps = await replay(directory);
    const violated = steps.findLast((step) => step.startsWith('VIOLATED: '));
    const text = violated?.slice('VIOLATED: '.length) ?? 'the volume is not served, for ever';
    return { result: 'violated', text, states, depth, steps };
  }
  const short = /max search depth too small|out of memory|memory limit|Search not completed/.exec(
    output,
  );
  const why = !ended ? `not finished in ${wanted.seconds} s` : (short?.[0] ?? null);
  if (why !== null || !/errors: 0/.test(output)) {
    return { result: 'unfinished', text: why ?? 'the searcher failed', states, depth, steps: [] };
  }
  const result = wanted.how === 'bitstate' ? 'nothing-found' : 'holds';
  return { result, text: '', states, depth, steps: [] };
}

/** What the model prints along the counterexample. */
async function replay(directory: string): Promise<string[]> {
  const trail = 'hyperscale.pml.trail';
  await readFile(join(directory, trail));
  const { output } = await run(directory, './pan', ['-r', trail], 60_000);
  const noise = /^( *\d+:\s|\s|pan|spin|#|global vars|local vars|error:|$)/;
  return output
    .split('\n')
    .filter((line) => !noise.test(line))
    .map((line) => line.trim());
}

function lastNumber(text: string, pattern: RegExp): number {
  return Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);
}

async function mustRun(directory: string, command: string, argv: string[]): Promise<void> {
  const { output, status } = await run(directory, command, argv, 300_000);
  if (status !== 0 || /Error:/.test(output)) {
    throw new Error(`${command} ${argv.join(' ')} failed:\n${output.slice(0, 2_000)}`);
  }
}

type Ran = { output: string; status: number | null; ended: boolean };

/** `ended` is false when the process had to be ended because its time was up. */
function run(directory: string, command: string, argv: string[], timeoutMs: number): Promise<Ran> {
  return new Promise((resolve, reject) => {
    if (stopped) throw new Error('stopped');
    const child = spawn(command, argv, {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    const said: Buffer[] = [];
    let ended = true;
    const timer = setTimeout(() => {
      ended = false;
      end(child);
    }, timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
    child.on('error', (error) => {
      clearTimeout(timer);
      running.delete(child);
      reject(new Error(`cannot run ${command}: is it installed?`, { cause: error }));
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      running.delete(child);
      if (stopped) reject(new Error('stopped'));
      resolve({ output: Buffer.concat(said).toString('utf8'), status, ended });
    });
  });
}
