/**
 * Checks the protocol's model with spin and gcc.
 *
 *   node spec/check.ts                    all quick configurations hold, all breakages are found
 *   node spec/check.ts --deep             the large searches, which visit most states, not all
 *   node spec/check.ts --deep --minutes 5 ... each for at most so long
 *   node spec/check.ts --only NAME        one configuration or breakage
 *   node spec/check.ts --trace NAME       ... and the steps of its counterexample
 *
 * The exit status is 0 only when everything came out as it must.
 */
import { parseArgs } from 'node:util';
import { breakages, configurations, searchForBreakage, searchOf } from './catalogue.ts';
import { type Outcome, type Search, search, stopSearches } from './search.ts';

type Check = { search: Search; breakage: boolean };

const atOnce = 2;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      deep: { type: 'boolean', default: false },
      minutes: { type: 'string', default: '10' },
      only: { type: 'string' },
      trace: { type: 'string' },
    },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stopSearches);
  const seconds = Number(values.minutes) * 60;
  if (!(seconds > 0)) throw new Error(`--minutes ${values.minutes} is no time`);
  const checks = choose(values.only ?? values.trace, values.deep, seconds);
  const bad = await perform(checks, values.trace !== undefined);
  console.log(`${checks.length - bad} as they must be, ${bad} not`);
  if (bad > 0) process.exitCode = 1;
}

function choose(name: string | undefined, deep: boolean, deepSeconds: number): Check[] {
  const all = [
    ...configurations.map((c) => ({ search: searchOf(c, deepSeconds), breakage: false, ...c })),
    ...breakages.map((b) => ({ search: searchForBreakage(b), breakage: true, deep: false, ...b })),
  ];
  const chosen = all.filter((c) =>
    name !== undefined ? c.name === name : (c.deep === true) === deep,
  );
  if (chosen.length === 0) {
    const names = all.map((c) => c.name).join(', ');
    throw new Error(`there is no ${JSON.stringify(name)}; there are ${names}`);
  }
  return chosen;
}

/** @returns how many came out otherwise than they must. */
async function perform(checks: readonly Check[], trace: boolean): Promise<number> {
  const waiting = [...checks];
  let bad = 0;
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const outcome = await search(next.search);
      const good = isAsItMustBe(next, outcome);
      if (!good) bad += 1;
      console.log(line(outcome, good));
      if (trace || (!good && outcome.result === 'violated')) {
        for (const [i, step] of outcome.steps.entries()) console.log(`  ${i + 1}. ${step}`);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, work));
  } catch (error) {
    waiting.length = 0;
    stopSearches();
    throw error;
  }
  return bad;
}

function isAsItMustBe({ breakage }: Check, { result }: Outcome): boolean {
  return breakage ? result === 'violated' : result === 'holds' || result === 'nothing-found';
}

function line({ name, result, text, states, depth, seconds }: Outcome, good: boolean): string {
  const found = text === '' ? result : `${result}: ${text}`;
  const counted = `${String(Math.round(states)).padStart(9)} states  depth ${String(depth).padStart(6)}`;
  return `${good ? 'ok ' : 'BAD'} ${name.padEnd(29)}${counted}  ${seconds.toFixed(1).padStart(6)} s  ${found}`;
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
