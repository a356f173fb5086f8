/**
 * Runs histories from seed SIM_FROM on until one fails or SIM_SECONDS of processor time are spent;
 * tells which as JSON.
 */
import { runHistory } from './history.ts';

const seconds = Number(process.env.SIM_SECONDS ?? '60');
const only = process.env.SIM_ONLY_SEED;
const first = Number(only ?? process.env.SIM_FROM ?? '1');

let unhandled: string | null = null;
process.on('unhandledRejection', (error) => {
  unhandled ??= error instanceof Error ? error.message : String(error);
});

for (let seed = first; ; seed += 1) {
  const result = await runHistory(seed);
  const error = result.error ?? unhandled;
  const over = process.cpuUsage().user > seconds * 1e6;
  if (error === null && !over && only === undefined) continue;
  process.stdout.write(
    `${JSON.stringify({ seed, error: error?.split('\n')[0] ?? null, spent: process.cpuUsage().user / 1e6 })}\n`,
  );
  process.exit(0);
}
