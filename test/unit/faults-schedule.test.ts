/** Schedules of faults: the same for the same seed, and printed as they are read. */
import { expect, test } from 'vitest';
import { isHyperscaleError } from '../../src/errors.ts';
import {
  type Choice,
  type Fault,
  lengthMs,
  parseSchedule,
  printSchedule,
  randomSchedule,
} from '../faults/schedule.ts';

const nodes = ['n1', 'n2', 'n3', 'n4'];
const choices: Choice[] = [
  { kind: 'cut', weight: 2, scope: 'node', longestMs: 9_000, exclusive: true },
  { kind: 'cut-between', weight: 2, scope: 'pair', longestMs: 9_000, exclusive: true },
  { kind: 'power-cut-all', weight: 1, scope: 'all', longestMs: 3_000, exclusive: true },
  { kind: 'kill-head', weight: 2, scope: 'writer', longestMs: 0, exclusive: false },
];
const seeds = Array.from({ length: 300 }, (_, seed) => seed);

test('a schedule is the same for the same seed, and another for another', () => {
  const printed = seeds.map((seed) => printSchedule(randomSchedule(seed, nodes, choices)));
  const again = seeds.map((seed) => printSchedule(randomSchedule(seed, nodes, choices)));
  expect(printed).toEqual(again);
  expect(new Set(printed).size).toBeGreaterThan(290);
});

test('what is printed is read back', () => {
  for (const seed of seeds) {
    const schedule = randomSchedule(seed, nodes, choices);
    expect(parseSchedule(printSchedule(schedule))).toEqual(schedule);
  }
});

test('two faults never take the same host away at once', () => {
  const hostsOf = ({ target }: Fault) => (target === 'all' ? nodes : target.split('+'));
  let compared = 0;
  for (const seed of seeds) {
    const faults = randomSchedule(seed, nodes, choices).filter((f) => f.kind !== 'kill-head');
    for (const [index, a] of faults.entries()) {
      expect(a.atMs).toBeLessThanOrEqual(lengthMs);
      for (const b of faults.slice(index + 1)) {
        if (!hostsOf(a).some((host) => hostsOf(b).includes(host))) continue;
        expect(b.atMs).toBeGreaterThanOrEqual(a.atMs + a.forMs);
        compared += 1;
      }
    }
  }
  expect(compared).toBeGreaterThan(20);
});

test('what is no fault is refused with an example', () => {
  const bad = (): unknown => parseSchedule('1.0s cut n1 for ever');
  expect(bad).toThrow(/'1.0s cut n1 for ever' is no fault/);
  try {
    bad();
  } catch (error) {
    expect(isHyperscaleError(error, 'bad-input')).toBe(true);
  }
});
