import { describe, expect, test } from 'vitest';
import { collectGarbage, isGone, markDeleted } from '../../../src/volume/delete.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { isDeletable } from '../../../src/volume/queries.ts';
import type { Garbage, Tail, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  fencing,
  open,
  opening,
  poolOf,
  record,
  refuses,
  replicas,
  sealed,
  unsealed,
} from './fixtures.ts';

/** Garbage as `layer: nodes`. */
function listed(volume: Volume): Record<string, string[]> {
  return Object.fromEntries(volume.garbage.map((g) => [g.layer, g.holders.map((h) => h.node)]));
}

function garbage(layer: string, nodes: string[], afterEpoch = 0): Garbage {
  const holders = nodes.map((node) => ({ node, pool: poolOf(node) }));
  return { layer, epoch: 1, afterEpoch, holders };
}

describe('markDeleted', () => {
  test('has every file of every holder deleted, whatever state the copy is in', () => {
    const chain = [sealed(1, ['n1', 'n2?']), sealed(2, ['n1', 'n3+'])];
    const before = record({ chain, garbage: [garbage('older', ['n4'])] });
    const after = markDeleted(before);
    assertStep(before, after);
    expect(after).toMatchObject({ tail: { phase: 'deleting' }, chain: [], epoch: 3 });
    const expected = { older: ['n4'], 'layer-1': ['n1', 'n2'], 'layer-2': ['n1', 'n3'] };
    expect(listed(after)).toEqual(expected);
  });

  test.each<[string, Tail, string[]]>([
    ['open', open(1, ['n1', 'n2']), ['layer-1']],
    [
      'opening',
      opening(unsealed(2, ['n1', 'n2']), unsealed(1, ['n1', 'n2'])),
      ['layer-2', 'layer-1'],
    ],
    ['opening first', opening(unsealed(1, ['n1', 'n2']), null), ['layer-1']],
    ['fencing', fencing('n2', 2, unsealed(1, ['n1', 'n2'])), ['layer-1']],
  ])('takes the layers that are not sealed with it (%s)', (_, tail, layers) => {
    const before = record({ tail });
    const after = markDeleted(before);
    assertStep(before, after);
    expect(listed(after)).toEqual(Object.fromEntries(layers.map((l) => [l, ['n1', 'n2']])));
  });

  test('takes what a merge has built with it', () => {
    const merge = { layers: ['layer-1', 'layer-2'], into: 'merged', builder: 'n1' };
    const before = record({
      chain: [sealed(1, ['n1']), sealed(2, ['n1'])],
      merge: { ...merge, manifest: 'm', bytes: 1, replicas: replicas('n1', 'n2+') },
    });
    const after = markDeleted(before);
    assertStep(before, after);
    expect(after.merge).toBeNull();
    expect(listed(after)).toMatchObject({ merged: ['n1', 'n2'] });
  });

  test('is refused while attached, naming the hosts', () => {
    const before = record({ attachments: [attachment('n1'), attachment('n3')] });
    refuses(before, markDeleted, /is attached on n1, n3/, 'in-use');
  });

  test('again changes nothing', () => {
    const before = record({ tail: { phase: 'deleting' }, garbage: [garbage('a', ['n1'])] });
    expect(markDeleted(before)).toBe(before);
  });
});

describe('collectGarbage', () => {
  const before = record({ garbage: [garbage('a', ['n1', 'n2']), garbage('b', ['n1'])] });

  test('takes one holder off the layers it deleted', () => {
    const after = collectGarbage(before, 'n1', ['a']);
    assertStep(before, after);
    expect(listed(after)).toEqual({ a: ['n2'], b: ['n1'] });
  });

  test('an entry without holders is gone; strangers and unknown layers change nothing', () => {
    expect(listed(collectGarbage(before, 'n1', ['a', 'b']))).toEqual({ a: ['n2'] });
    expect(collectGarbage(before, 'n3', ['a', 'b']).garbage).toEqual(before.garbage);
    expect(collectGarbage(before, 'n1', ['c']).garbage).toEqual(before.garbage);
  });
});

test('a volume is gone when it is deleted and every holder has said so', () => {
  const deleting = { tail: { phase: 'deleting' } as const };
  expect(isGone(record(deleting))).toBe(true);
  expect(isGone(record({ ...deleting, garbage: [garbage('a', ['n1'])] }))).toBe(false);
  expect(isGone(record())).toBe(false);
});

test('files may go when no head can see them: idle, deleted, or in a later open epoch', () => {
  const layer = unsealed(4, ['n1']);
  expect(isDeletable(record(), 9)).toBe(true);
  expect(isDeletable(record({ tail: { phase: 'deleting' } }), 9)).toBe(true);
  expect(isDeletable(record({ tail: open(4, ['n1']) }), 4)).toBe(false);
  expect(isDeletable(record({ tail: open(4, ['n1']) }), 3)).toBe(true);
  expect(isDeletable(record({ tail: opening(unsealed(5, ['n1']), layer) }), 0)).toBe(false);
  expect(isDeletable(record({ tail: fencing('n2', 5, layer) }), 0)).toBe(false);
});
