/**
 * Runs the histories of SIM_SEEDS, or from SIM_FROM on until one fails or SIM_SECONDS of processor
 * time are spent, only those with the theme SIM_THEME if that is given; tells of each of SIM_SEEDS, or
 * of the last one, as a line of JSON.
 */
import { runHistory } from './history.ts';
import { themeOf } from './themes.ts';

const seeds = process.env.SIM_SEEDS?.split(',').map(Number);
const seconds = Number(process.env.SIM_SECONDS ?? '60');
const from = Number(process.env.SIM_FROM ?? '1');
const theme = process.env.SIM_THEME;

let unhandled: string | null = null;
process.on('unhandledRejection', (error) => {
  unhandled ??= error instanceof Error ? error.message : String(error);
});

const spent = () => process.cpuUsage().user / 1e6;

async function play(seed: number): Promise<string | null> {
  unhandled = null;
  const result = await runHistory(seed);
  return result.error ?? unhandled;
}

function tell(seed: number, error: string | null): void {
  const text = error?.split('\n')[0] ?? null;
  process.stdout.write(`${JSON.stringify({ seed, error: text, spent: spent() })}\n`);
}

for (const seed of seeds ?? []) tell(seed, await play(seed));
for (let seed = from; seeds === undefined; seed += 1) {
  if (theme !== undefined && themeOf(seed) !== theme) continue;
  const error = await play(seed);
  if (error === null && spent() <= seconds) continue;
  tell(seed, error);
  break;
}
process.exit(0);
