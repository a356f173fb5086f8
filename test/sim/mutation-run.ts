import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Mutation } from './mutations.ts';

const child = fileURLToPath(new URL('mutation-child.ts', import.meta.url));
const hook = new URL('mutation-hook.ts', import.meta.url).href;

export type Verdict = {
  name: string;
  /** The seed of the history that noticed it; null when it survived. */
  seed: number | null;
  /** Of processor time, until it was noticed or given up. */
  seconds: number;
  /** What was seen. */
  error: string | null;
};

/**
 * Runs histories with a mutation until one fails that does not fail without it.
 * @param seconds of processor time, so that a busy machine changes nothing.
 */
export async function hunt(mutation: Mutation, seconds: number, from = 1): Promise<Verdict> {
  const { name } = mutation;
  let spent = 0;
  for (let next = from; ; ) {
    const left = Math.max(1, seconds - spent);
    const seen = await run({ SIM_MUTATION: name, SIM_FROM: next, SIM_SECONDS: left });
    spent += seen.spent;
    if (seen.error === null) return { name, seed: null, seconds: spent, error: null };
    const sound = await run({ SIM_ONLY_SEED: seen.seed });
    if (sound.error === null) return { name, seed: seen.seed, seconds: spent, error: seen.error };
    if (spent > seconds) return { name, seed: null, seconds: spent, error: null };
    next = seen.seed + 1;
  }
}

type Answer = { seed: number; error: string | null; spent: number };

async function run(environment: Record<string, string | number>): Promise<Answer> {
  const values = Object.entries(environment).map(([name, value]) => [name, String(value)]);
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', hook, child], {
    env: { ...process.env, ...Object.fromEntries(values) },
    maxBuffer: 1 << 26,
  });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Answer;
}

/** Hunts all of them, `jobs` at a time, telling each verdict as it comes. */
export async function huntAll(
  all: readonly Mutation[],
  options: { seconds: number; jobs: number; tell: (verdict: Verdict) => void },
): Promise<Verdict[]> {
  const waiting = [...all];
  const verdicts: Verdict[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const verdict = await hunt(next, options.seconds);
      verdicts.push(verdict);
      options.tell(verdict);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
  return verdicts;
}
