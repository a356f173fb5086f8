/**
 * The protocol in a small world where everything can happen at any time: no acknowledged write is
 * lost, clean copies are equal, and one head at most can acknowledge. A failure prints its seed
 * and the history that led there; RUNS sets how many histories are tried.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { builtInPolicies, policyNamed } from '../../../src/volume/policy.ts';
import { World } from './world.ts';
import { live, steps } from './world-history.ts';
import type { Fault } from './world-types.ts';

const historyLength = 400;
const runs = Number(process.env.RUNS ?? 250);

const setting = fc.record({
  size: fc.constantFrom(4, 5),
  policy: fc.constantFrom(...builtInPolicies),
});

function property(faults: Fault[] = []) {
  return fc.property(setting, steps(historyLength), ({ size, policy }, taken) => {
    live(new World(size, policy, faults), taken);
  });
}

test('whatever happens, acknowledged writes are seen and clean copies are equal', () => {
  // Shrinking a failure stops after a while too; the history is then a little longer.
  fc.assert(property(), { numRuns: runs, interruptAfterTimeLimit: Math.max(15_000, runs * 20) });
}, 600_000);

test.each<Fault>([
  'marks-before-it-mends',
  'mends-without-fence',
  'calls-a-kill-graceful',
  'seals-without-sync',
  'acknowledges-early',
  'deletes-what-is-read',
  'merges-into-the-smallest',
  'serves-behind-a-fence',
  'swaps-blindly',
])('the checks notice an agent that %s', (fault) => {
  const outcome = fc.check(property([fault]), { numRuns: 2_000, seed: 1, endOnFailure: true });
  expect(outcome.failed).toBe(true);
});

test('the histories reach every part of the protocol', () => {
  const counts: Record<string, number> = {};
  for (const taken of fc.sample(steps(historyLength), { numRuns: 100, seed: 1 })) {
    const world = new World(4, policyNamed('Silver'));
    live(world, taken);
    for (const [what, n] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + n;
  }
  const expected = {
    acknowledged: 500,
    'cache lost': 5,
    'copy dropped': 20,
    crashed: 50,
    deleting: 1,
    extended: 50,
    fencing: 50,
    'file deleted': 50,
    'head killed': 50,
    'head started': 100,
    'head stopped': 20,
    'late swap lost': 2,
    'late swap won': 1,
    manifest: 100,
    mended: 100,
    merged: 10,
    refused: 100,
  };
  for (const [what, least] of Object.entries(expected)) {
    expect(counts[what] ?? 0, what).toBeGreaterThanOrEqual(least);
  }
});
