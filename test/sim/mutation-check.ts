/** Does the simulator notice broken code? */
import { parseArgs } from 'node:util';
import { huntAll } from './mutation-run.ts';
import { rememberSeeds } from './mutation-seeds.ts';
import { mutations } from './mutations.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '120' },
    jobs: { type: 'string', default: '2' },
    remember: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(`Breaks the code in one place at a time, and runs simulated histories until one notices.

  node test/sim/mutation-check.ts [--only NAME[,NAME]] [--seconds S] [--jobs N] [--remember]

  --only       these mutations of test/sim/mutations*.ts; else all
  --seconds    of processor time for each (120)
  --jobs       how many at a time (2)
  --remember   writes down which history noticed which, so that the next hunt begins with it

The exit status is 1 when a mutation survives.
`);
  process.exit();
}
const only = values.only?.split(',');
const chosen = mutations.filter((m) => only === undefined || only.includes(m.name));
const unknown = only?.filter((name) => !chosen.some((m) => m.name === name)) ?? [];
if (unknown.length > 0) {
  process.stderr.write(`there is no mutation ${unknown.join(', ')}\n`);
  process.exit(2);
}

const noticed = new Map<string, number>();
const verdicts = await huntAll(chosen, {
  seconds: Number(values.seconds),
  slowSeconds: Number(values.seconds),
  jobs: Number(values.jobs),
  tell: ({ name, seed, seconds, error }) => {
    if (seed !== null) noticed.set(name, seed);
    if (values.remember) rememberSeeds(noticed);
    const what = seed === null ? 'SURVIVED' : `seed ${seed}: ${error}`;
    process.stdout.write(`${name.padEnd(28)} ${seconds.toFixed(1).padStart(5)} s  ${what}\n`);
  },
});
const survived = verdicts.filter((v) => v.seed === null);
process.stdout.write(`${verdicts.length - survived.length} of ${verdicts.length} noticed\n`);
process.exitCode = survived.length === 0 ? 0 : 1;
