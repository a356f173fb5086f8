/**
 * Does the simulator notice broken code?
 *   node test/sim/mutation-check.ts [--only NAME] [--seconds S] [--jobs N] [--remember]
 * Fails when a mutation survives S seconds of histories. With --remember the histories that noticed
 * are written down, so that the next hunt begins with them.
 */
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
  },
});
const chosen = mutations.filter((m) => values.only === undefined || m.name === values.only);
if (chosen.length === 0) throw new Error(`there is no mutation ${values.only}`);

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
