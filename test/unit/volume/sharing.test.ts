/**
 * Records that share layers, in a small world where everything can happen in any order: each volume,
 * clone, snapshot and backup shows at every step what a plain model of their contents says, nothing that one of
 * them sees is given up, and after everything was deleted nothing is left. RUNS sets how many histories
 * are tried.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { snapshotsOf } from '../../../src/volume/marks.ts';
import { builtInPolicies, policyNamed } from '../../../src/volume/policy.ts';
import { actions, type SharingKind } from './sharing-actions.ts';
import { type SharingFault, SharingWorld } from './sharing-world.ts';
import { pick } from './world-actions.ts';

const historyLength = 200;
const runs = Number(process.env.RUNS ?? 100);

/** How often each kind is tried. */
const weights: Record<SharingKind, number> = {
  create: 1,
  open: 5,
  roll: 9,
  confirm: 10,
  write: 16,
  close: 4,
  'take-over': 1.5,
  extend: 1.5,
  snapshot: 5,
  'snapshot sealed': 2,
  episode: 4,
  ship: 8,
  'give up': 0.5,
  'delete snapshot': 5,
  clone: 6,
  revert: 12,
  prove: 6,
  'add copy': 4,
  'drop copy': 9,
  'begin merge': 12,
  'plan merge': 3,
  'build merge': 6,
  'complete merge': 6,
  'wish flatten': 6,
  'flatten step': 12,
  'abandon merge': 0.5,
  delete: 2,
  tidy: 8,
  collect: 20,
};

type Step = { kind: SharingKind; a: number; b: number; c: number };
const small = fc.nat({ max: 59 });
const kinds = (Object.keys(weights) as SharingKind[]).map((kind) => ({
  weight: weights[kind] * 2,
  arbitrary: fc.constant(kind),
}));
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(...kinds),
  a: small,
  b: small,
  c: small,
});
const steps = fc.array(step, {
  minLength: historyLength / 2,
  maxLength: historyLength,
  size: 'max',
});

/** Background work concerns any record, everything else those that have a name. */
const anyRecord: ReadonlySet<SharingKind> = new Set([
  'prove',
  'add copy',
  'drop copy',
  'begin merge',
  'plan merge',
  'build merge',
  'complete merge',
  'flatten step',
  'tidy',
  'collect',
]);

const onward: SharingKind[] = ['confirm', 'write', 'build merge', 'complete merge', 'open'];

async function live(world: SharingWorld, taken: readonly Step[]): Promise<void> {
  const history: string[] = [];
  try {
    world.create();
    for (const { kind, a, b, c } of taken) {
      // Where one is not possible, what brings volumes on happens instead.
      const tried = c % 4 === 0 ? [kind] : [kind, ...onward];
      for (const [i, next] of tried.entries()) {
        const among = anyRecord.has(next) ? [...world.records.values()] : world.volumes();
        const volume = pick(among, a);
        if (volume === undefined) world.create();
        if (volume === undefined || !(await actions[next](world, volume, b, c + i))) continue;
        history.push(`${next} ${volume.id} ${b} ${c}`);
        break;
      }
      world.check();
    }
    await end(world);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${text}\n${history.join('\n')}`, { cause: error });
  }
}

/** Everything is deleted, in any order; then nothing is left. */
async function end(world: SharingWorld): Promise<void> {
  for (const { id } of world.volumes()) {
    for (const kind of ['confirm', 'close'] as const) {
      const volume = world.records.get(id);
      if (volume) await actions[kind](world, volume, 0, 0);
    }
    for (const _ of snapshotsOf(world.records.get(id) ?? ({ snapshots: [] } as never))) {
      const volume = world.records.get(id);
      if (volume) await actions['delete snapshot'](world, volume, 0, 0);
    }
    const volume = world.records.get(id);
    if (volume) await actions.delete(world, volume, 0, 0);
    world.check();
  }
  for (let round = 0; world.records.size > 0; round += 1) {
    if (round > 60) {
      throw new Error(`left after everything was deleted: ${[...world.records.keys()].join(', ')}`);
    }
    for (const id of [...world.records.keys()]) {
      for (const kind of ['tidy', 'collect'] as const) {
        const volume = world.records.get(id);
        if (volume) await actions[kind](world, volume, 0, round);
        world.check();
      }
    }
  }
  expect([...world.files]).toEqual([]);
}

function property(faults: SharingFault[] = []) {
  return fc.asyncProperty(fc.constantFrom(...builtInPolicies), steps, (policy, taken) =>
    live(new SharingWorld({ ...policy, maxLayers: 3 }, faults), taken),
  );
}

test('volumes, clones and snapshots show what the model says, whatever happens to the others', async () => {
  await fc.assert(property(), {
    numRuns: runs,
    interruptAfterTimeLimit: Math.max(15_000, runs * 40),
  });
}, 600_000);

test.each<SharingFault>([
  'clones-without-note',
  'snapshots-without-seal',
  'deletes-what-is-read',
  'forgets-living-clones',
  'merges-what-is-seen',
  'reverts-below-clones',
  'deletes-bases',
  'ships-one-layer',
])('the checks notice a world that %s', async (fault) => {
  const outcome = await fc.check(property([fault]), {
    numRuns: 2_000,
    seed: 4,
    endOnFailure: true,
  });
  expect(outcome.failed).toBe(true);
});

test('the histories reach what they are about', async () => {
  const counts: Record<string, number> = {};
  for (const taken of fc.sample(steps, { numRuns: 60, seed: 1 })) {
    const world = new SharingWorld({ ...policyNamed('Silver'), maxLayers: 3 });
    await live(world, taken);
    for (const [what, n] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + n;
  }
  const expected = {
    written: 300,
    snapshot: 60,
    'snapshot deleted': 30,
    cloned: 60,
    'clone cloned': 10,
    reverted: 10,
    shipped: 10,
    'shipped on a base': 3,
    merged: 10,
    flattened: 3,
    base: 10,
    deleted: 30,
    'copy dropped': 10,
    'file deleted': 100,
    'refused in-use': 20,
  };
  for (const [what, least] of Object.entries(expected)) {
    expect(counts[what] ?? 0, what).toBeGreaterThanOrEqual(least);
  }
});
