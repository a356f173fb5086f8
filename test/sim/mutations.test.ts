import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mutated } from './mutation-apply.ts';
import { huntAll } from './mutation-run.ts';
import { mutations } from './mutations.ts';

/** Processor seconds of histories that one mutation may take to be noticed. */
const seconds = 120;

test('every mutation changes exactly one place of the code', () => {
  for (const mutation of mutations) {
    const path = fileURLToPath(new URL(`../../${mutation.file}`, import.meta.url));
    const source = readFileSync(path, 'utf8');
    expect(mutated(mutation, source)).not.toBe(source);
  }
});

/** A minute or two of histories on two processors, and more on slow ones. */
const timeout = 900_000;

test('the simulator notices every mutation that takes it no long time', { timeout }, async () => {
  const options = { seconds, slowSeconds: 0, jobs: 2, tell: () => undefined };
  const verdicts = await huntAll(mutations, options);
  const survived = verdicts.filter((v) => v.seed === null).map((v) => v.name);
  const slow = new Set(mutations.filter((m) => m.slow === true).map((m) => m.name));
  const untried = survived.filter((name) => slow.has(name));
  if (untried.length > 0) console.info(`only npm run sim:mutations hunts ${untried.join(', ')}`);
  expect(survived.filter((name) => !slow.has(name))).toEqual([]);
});
