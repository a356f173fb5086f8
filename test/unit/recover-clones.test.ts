/** Records that go on from others come back together, or not at all. */
import { describe, expect, test } from 'vitest';
import { withClonesNoted } from '../../src/cluster/recover-clones.ts';
import type { VolumePlan } from '../../src/cluster/recover-types.ts';
import { addClone, clonePoint, createClone } from '../../src/volume/clone.ts';
import { assertRecord } from '../../src/volume/invariants.ts';
import { clonesOf } from '../../src/volume/marks.ts';
import type { Volume } from '../../src/volume/types.ts';
import { record, sealed } from './volume/fixtures.ts';

function plan(volume: Volume | null, id: string): VolumePlan {
  return {
    ...{ id, name: id, outcome: 'exact', epoch: 1, from: 'n1', notes: [], losses: [] },
    ...{ missing: [], record: volume, unchanged: true, fence: null },
  };
}

const parent = record({ id: 'p', name: 'p', chain: [sealed(1, ['n1']), sealed(2, ['n1'])] });

function cloneOf(from: Volume, id: string): Volume {
  const point = clonePoint(from, null);
  const { sizeBytes, policy } = from;
  return createClone(point, { id, name: id, sizeBytes, policy, createdAt: 'now' });
}

const clone = cloneOf(parent, 'c');
const noted = addClone(parent, { volume: 'c', layer: clone.parent?.layer ?? '' });

describe('clones in a recovery', () => {
  test('what is noted already stays as it is', () => {
    const plans = [plan(noted, 'p'), plan(clone, 'c')];
    expect(withClonesNoted(plans)).toEqual(plans);
  });

  test('a note that came back too old is made again', () => {
    const [first, second] = withClonesNoted([plan(parent, 'p'), plan(clone, 'c')]);
    expect(clonesOf(first?.record as Volume)).toEqual(clonesOf(noted));
    assertRecord(first?.record as Volume);
    expect(first).toMatchObject({ unchanged: false, notes: [expect.stringMatching(/noted/)] });
    expect(second).toEqual(plan(clone, 'c'));
  });

  test('a clone whose parent or layer does not come back is left out, and its clones with it', () => {
    const middle = { ...clone, chain: [{ ...sealed(3, ['n1']), id: 'own' }], epoch: 3 };
    const last = cloneOf(middle, 'd');
    for (const from of [null, { ...parent, chain: parent.chain.slice(0, 1) }]) {
      const plans = withClonesNoted([plan(from, 'p'), plan(middle, 'c'), plan(last, 'd')]);
      expect(plans.slice(1)).toMatchObject([
        { outcome: 'impossible', record: null, unchanged: false },
        { outcome: 'impossible', record: null, losses: [expect.stringMatching(/left out/)] },
      ]);
    }
  });

  test('what is deleted goes on from nobody', () => {
    const gone = { ...clone, tail: { phase: 'deleting' as const } };
    const plans = [plan(null, 'p'), plan(gone, 'c')];
    expect(withClonesNoted(plans)).toEqual(plans);
  });
});
