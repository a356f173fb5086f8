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

/** Several minutes of histories on two processors, and more on slow ones. */
const timeout = 900_000;

test('the simulator notices every mutation, but for the slow ones', { timeout }, async () => {
  const quick = mutations.filter((m) => m.slow !== true);
  const verdicts = await huntAll(quick, { seconds, jobs: 2, tell: () => undefined });
  const survived = verdicts.filter((v) => v.seed === null).map((v) => v.name);
  expect(survived).toEqual([]);
});
