import { parseArgs } from 'node:util';
import { runHistory } from './history.ts';
import { runMany } from './run.ts';

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    short: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    lines: { type: 'string', default: '4000' },
    jobs: { type: 'string', default: '2' },
    help: { type: 'boolean', default: false },
  },
});

const help = `Runs simulated histories of a cluster.

  node test/sim/main.ts [--histories N] [--minutes M] [--jobs J] [--from SEED] [--short]
  node test/sim/main.ts --seed SEED [--short] [--trace] [--lines N]    one history again

With --short each is one volume on three machines with a few seconds of faults.
`;

const length = values.short ? 'short' : 'long';

/** One history, told in full. */
async function again(seed: number): Promise<boolean> {
  const told = values.trace ? { traceLines: Number(values.lines) } : {};
  const result = await runHistory(seed, { ...told, length });
  process.stdout.write(`${result.trace.join('\n')}\n`);
  const { simulatedMs, events, hash } = result;
  process.stdout.write(
    `seed ${seed}: ${result.ok ? 'ok' : result.error}\n${(simulatedMs / 1_000).toFixed(1)} s simulated, ${events} events, trace ${hash}\n`,
  );
  return result.ok;
}

if (values.help) {
  process.stdout.write(help);
} else if (values.seed !== undefined) {
  process.on('unhandledRejection', (error) => {
    process.stdout.write(`unhandled rejection: ${error instanceof Error ? error.stack : error}\n`);
    process.exitCode = 1;
  });
  if (!(await again(Number(values.seed)))) process.exitCode = 1;
} else {
  const report = await runMany({
    histories: Number(values.histories),
    milliseconds: Number(values.minutes) * 60_000,
    jobs: Number(values.jobs),
    from: Number(values.from),
    length,
    say: (line) => process.stdout.write(`${line}\n`),
  });
  process.exitCode = report.failed.length === 0 ? 0 : 1;
}
