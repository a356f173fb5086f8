import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { knownSeeds } from './mutation-seeds.ts';
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
 * Runs histories with a mutation until one fails that does not fail without it: first the one that
 * noticed it when the seeds were written down, then all of its theme from the first one on.
 * @param seconds of processor time, so that a busy machine changes nothing; 0: only that one is tried.
 */
async function hunt(mutation: Mutation, seconds: number, sound: Sound): Promise<Verdict> {
  const { name, theme } = mutation;
  const wanted = { SIM_MUTATION: name, ...(theme === undefined ? {} : { SIM_THEME: theme }) };
  let spent = 0;
  const noticed = async (seen: Answer | undefined): Promise<Verdict | null> => {
    spent += seen?.spent ?? 0;
    if (seen?.error == null || !(await sound.holds(seen.seed))) return null;
    return { name, seed: seen.seed, seconds: spent, error: seen.error };
  };
  const known = knownSeeds.get(name);
  if (known !== undefined) {
    const [seen] = await run({ SIM_MUTATION: name, SIM_SEEDS: known });
    const verdict = await noticed(seen);
    if (verdict !== null) return verdict;
  }
  for (let next = 1; seconds > 0; ) {
    const left = Math.max(1, seconds - spent);
    const [seen] = await run({ ...wanted, SIM_FROM: next, SIM_SECONDS: left });
    const verdict = await noticed(seen);
    if (verdict !== null) return verdict;
    if (seen?.error == null || spent > seconds) break;
    next = seen.seed + 1;
  }
  return { name, seed: null, seconds: spent, error: null };
}

/** Which histories fail without any mutation; each is played once at most. */
class Sound {
  readonly #failed = new Map<number, Promise<boolean>>();

  holds(seed: number): Promise<boolean> {
    const played = this.#failed.get(seed) ?? this.#play([seed]).then((fine) => fine.has(seed));
    this.#failed.set(seed, played);
    return played;
  }

  /** Plays many in one process, which costs least. */
  learn(seeds: readonly number[]): void {
    const played = this.#play(seeds);
    for (const seed of seeds) {
      this.#failed.set(
        seed,
        played.then((fine) => fine.has(seed)),
      );
    }
  }

  async #play(seeds: readonly number[]): Promise<Set<number>> {
    const answers = await run({ SIM_SEEDS: seeds.join() });
    return new Set(answers.filter((a) => a.error === null).map((a) => a.seed));
  }
}

type Answer = { seed: number; error: string | null; spent: number };

async function run(environment: Record<string, string | number>): Promise<Answer[]> {
  const values = Object.entries(environment).map(([name, value]) => [name, String(value)]);
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', hook, child], {
    env: { ...process.env, ...Object.fromEntries(values) },
    maxBuffer: 1 << 26,
  });
  const lines = stdout.split('\n').filter((line) => line.startsWith('{"seed"'));
  return lines.map((line) => JSON.parse(line) as Answer);
}

/**
 * Hunts all of them, `jobs` at a time, telling each verdict as it comes.
 * @param options.slowSeconds for those that are slow.
 */
export async function huntAll(
  all: readonly Mutation[],
  options: {
    seconds: number;
    slowSeconds: number;
    jobs: number;
    tell: (verdict: Verdict) => void;
  },
): Promise<Verdict[]> {
  const waiting = [...all];
  const verdicts: Verdict[] = [];
  const sound = new Sound();
  const seeds = new Set(all.flatMap(({ name }) => knownSeeds.get(name) ?? []));
  if (seeds.size > 0) sound.learn([...seeds]);
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const seconds = next.slow === true ? options.slowSeconds : options.seconds;
      const verdict = await hunt(next, seconds, sound);
      verdicts.push(verdict);
      options.tell(verdict);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
  return verdicts;
}
