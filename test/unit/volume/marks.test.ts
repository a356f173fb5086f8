import { describe, expect, test } from 'vitest';
import { mergeStep } from '../../../src/cluster/merge.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import {
  isTooLong,
  loosened,
  markedLayers,
  mergeableRuns,
  mergeExcess,
  placeOf,
  sharedUpTo,
  withMarks,
} from '../../../src/volume/marks.ts';
import { beginMerge, completeMerge } from '../../../src/volume/merge.ts';
import type { Clone, Merge, Parent, Snapshot, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  mebibyte,
  node,
  open,
  poolOf,
  record,
  refuses,
  replicas,
  sealed,
} from './fixtures.ts';

const size = 64 * mebibyte;
const chain = [1, 2, 3, 4, 5].map((epoch) => sealed(epoch, ['n1', 'n2']));
const snapshot = (id: string, layer: string | null, changes: Partial<Snapshot> = {}): Snapshot => ({
  id,
  name: id,
  layer,
  sizeBytes: size,
  createdAt: '',
  ...changes,
});
const clone = (volume: string, layer: string): Clone => ({ volume, layer });
const parent: Parent = { volume: 'p', layer: 'x', sizeBytes: size, layers: 1 };
const merge = (...layers: string[]): Merge => ({
  layers,
  into: 'merged',
  builder: 'n1',
  manifest: 'root',
  bytes: 1,
  replicas: replicas('n1', 'n2'),
});
const runs = (volume: Volume) => mergeableRuns(volume).map((run) => run.map((l) => l.epoch));

describe('runs that may be merged', () => {
  test('are the whole chain where nothing is marked', () => {
    expect(runs(record({ chain }))).toEqual([[1, 2, 3, 4, 5]]);
    expect(runs(record())).toEqual([]);
    expect(mergeExcess(record())).toBe(0);
  });

  test('end at snapshots, and begin above what clones see', () => {
    const snapshots = [snapshot('s', 'layer-3')];
    expect(runs(record({ chain, snapshots }))).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
    const clones = [clone('a', 'layer-1'), clone('b', 'layer-2')];
    const both = record({ chain, snapshots, clones });
    expect(sharedUpTo(both)).toBe(1);
    expect([...markedLayers(both)]).toEqual(['layer-3']);
    expect(runs(both)).toEqual([[3], [4, 5]]);
    expect(mergeExcess(both)).toBe(1);
    const top = [snapshot('s', 'layer-5'), snapshot('t', 'layer-5')];
    expect(runs(record({ chain, snapshots: top }))).toEqual([[1, 2, 3, 4, 5]]);
    expect(runs(record({ chain, clones: [clone('a', 'layer-5')] }))).toEqual([]);
  });

  test('a chain is too long by what merges could take from it, not by its length', () => {
    const policy = { ...record().policy, maxLayers: 4 };
    expect(isTooLong(record({ chain, policy }))).toBe(true);
    expect(isTooLong(record({ chain: chain.slice(1), policy }))).toBe(false);
    const snapshots = chain.map((l) => snapshot(l.id, l.id));
    expect(isTooLong(record({ chain, policy, snapshots }))).toBe(false);
  });

  test('the place of what is not in the chain is below it', () => {
    const volume = record({ chain });
    expect(['layer-1', 'layer-5', 'x', null].map((id) => placeOf(volume, id))).toEqual([
      0, 4, -1, -1,
    ]);
  });

  test('a merge across a snapshot, or of what clones see, is refused', () => {
    const volume = record({
      chain,
      snapshots: [snapshot('s', 'layer-3')],
      clones: [clone('a', 'layer-1')],
    });
    const n1 = { node: 'n1', pool: poolOf('n1') };
    const begin =
      (...layers: string[]) =>
      (v: Volume) =>
        beginMerge(v, layers, 'm', n1);
    refuses(volume, begin('layer-3', 'layer-4'), /a snapshot or a clone needs/);
    refuses(volume, begin('layer-1', 'layer-2'), /a snapshot or a clone needs/);
    assertStep(volume, begin('layer-2', 'layer-3')(volume));
    assertStep(volume, begin('layer-4', 'layer-5')(volume));
  });
});

test('while somebody writes, the two newest layers alone are not merged: their roll adds another', () => {
  const pairs = Array.from({ length: 10 }, (_, i) =>
    sealed(i + 1, ['n1', 'n2'], { bytes: i < 8 ? 1000 - i : 1 }),
  );
  const snapshots = [2, 4, 6, 8].map((epoch) => snapshot(`s${epoch}`, `layer-${epoch}`));
  const policy = { ...record().policy, maxLayers: 4 };
  const view = { nodes: [node('n1'), node('n2')], newId: () => 'm' };
  const merged = (tail: Volume['tail']) => {
    const volume = record({ chain: pairs, snapshots, policy, tail });
    return mergeStep(volume, view)?.apply(volume).merge?.layers;
  };
  expect(merged({ phase: 'idle' })).toEqual(['layer-9', 'layer-10']);
  expect(merged(open(11, ['n1', 'n2']))).toEqual(['layer-7', 'layer-8']);
});

describe('loose layers', () => {
  test('are noted once, and not where something keeps them', () => {
    const volume = record({
      chain,
      snapshots: [snapshot('s', 'layer-3')],
      clones: [clone('a', 'layer-1')],
    });
    expect(loosened(volume, 'layer-2').loose).toEqual(['layer-2']);
    const once = loosened(volume, 'layer-2');
    expect(loosened(once, 'layer-2')).toBe(once);
    for (const id of ['layer-1', 'layer-3', 'x', null]) expect(loosened(volume, id)).toBe(volume);
  });

  test('go with a merge; the result is loose when its top was', () => {
    const inner = record({
      chain,
      loose: ['layer-1', 'layer-4'],
      merge: merge('layer-1', 'layer-2'),
    });
    const after = completeMerge(inner, 'merged');
    assertStep(inner, after);
    expect(after.loose).toEqual(['layer-4']);
    const top = record({ chain, loose: ['layer-2'], merge: merge('layer-1', 'layer-2') });
    expect(completeMerge(top, 'merged').loose).toEqual(['merged']);
    const marked = record({
      chain,
      loose: ['layer-2'],
      snapshots: [snapshot('s', 'layer-2')],
      merge: merge('layer-1', 'layer-2'),
    });
    expect(completeMerge(marked, 'merged')).not.toHaveProperty('loose');
  });

  test('empty lists are absent', () => {
    const volume = record({ chain, snapshots: [snapshot('s', 'layer-1')], loose: ['layer-2'] });
    const without = withMarks(volume, { snapshots: [], loose: [] });
    expect(without).not.toHaveProperty('snapshots');
    expect(without).not.toHaveProperty('loose');
    expect(withMarks(volume, {})).toEqual(volume);
  });
});

describe('the invariants tell of a record', () => {
  const twice = [snapshot('s', 'layer-1'), snapshot('t', 'layer-2', { name: 's' })];
  test.each<[string, Partial<Volume>, RegExp]>([
    [
      'with a snapshot of no layer',
      { chain, snapshots: [snapshot('s', 'x')] },
      /s ends at a layer/,
    ],
    [
      'with snapshots out of order',
      { chain, snapshots: [snapshot('s', 'layer-2'), snapshot('t', 'layer-1')] },
      /not in order/,
    ],
    ['with one name twice', { chain, snapshots: twice }, /one name/],
    [
      'with one snapshot twice',
      { chain, snapshots: [snapshot('s', 'layer-1'), snapshot('s', 'layer-1', { name: 't' })] },
      /one name/,
    ],
    [
      'with a clone twice',
      { chain, clones: [clone('a', 'layer-1'), clone('a', 'layer-2')] },
      /noted twice/,
    ],
    ['with a clone of no layer', { chain, clones: [clone('a', 'x')] }, /a goes on from no layer/],
    ['that is its own parent', { parent: { ...parent, volume: 'v' } }, /own parent/],
    ['of an image that is open', { role: 'image', tail: open(1, ['n1']) }, /an image and open/],
    [
      'of a base that is attached',
      { role: 'base', attachments: [attachment('n1')] },
      /a base and attached/,
    ],
    [
      'that is deleted with a snapshot',
      { tail: { phase: 'deleting' }, snapshots: [snapshot('s', null)] },
      /deleted with/,
    ],
    [
      'that merges what a clone sees',
      { chain, clones: [clone('a', 'layer-2')], merge: merge('layer-2', 'layer-3') },
      /merges what a clone sees/,
    ],
    [
      'that is smaller than its parent',
      { parent: { ...parent, sizeBytes: size + 1 } },
      /smaller than/,
    ],
  ])('%s', (_, changes, text) => {
    refuses(record(changes), assertRecord, text, 'rule-broken');
  });
});

describe('the invariants tell of a step that', () => {
  const wrong = (before: Volume, after: Volume, text: RegExp) =>
    refuses(after, (v) => assertStep(before, v), text, 'rule-broken');
  const kept = { chain, snapshots: [snapshot('s', 'layer-3', { protected: true })] };
  const cloned = { chain, clones: [clone('a', 'layer-3')] };

  test('moves, resizes or loses a snapshot', () => {
    const before = record(kept);
    const moved = [snapshot('s', 'layer-2', { protected: true })];
    wrong(before, record({ chain, snapshots: moved }), /s shows something else/);
    const resized = [snapshot('s', 'layer-3', { protected: true, sizeBytes: 1 })];
    wrong(before, record({ chain, snapshots: resized }), /s has another size/);
    wrong(before, record({ chain }), /s is protected/);
  });

  test('merges a layer that a snapshot ends at into a newer one', () => {
    const before = record({ ...kept, merge: merge('layer-3', 'layer-4') });
    const result = sealed(4, ['n1', 'n2'], { id: 'merged', manifest: 'root', authority: 'n1' });
    const merged = [chain[0], chain[1], result, chain[4]].flatMap((l) => l ?? []);
    const snapshots = [snapshot('s', 'merged', { protected: true })];
    wrong(before, record({ chain: merged, snapshots }), /s shows something else/);
  });

  test('changes what a clone sees, or where it goes on', () => {
    const before = record({ ...cloned, merge: null });
    wrong(before, record({ ...cloned, clones: [clone('a', 'layer-4')] }), /a goes on from another/);
    const result = sealed(2, ['n1', 'n2'], { id: 'merged', manifest: 'root', authority: 'n1' });
    const merged = record({ ...cloned, chain: [result, ...chain.slice(2)] });
    wrong(before, merged, /vanished|under a clone/);
    const own = record({ chain, parent });
    wrong(own, record({ chain, parent: { ...parent, layer: 'y' } }), /goes on from something else/);
    wrong(own, record({ chain }), /goes on from something else/);
  });

  test('drops layers that no snapshot explains, or while it is written', () => {
    const before = record({ chain, snapshots: [snapshot('s', 'layer-3')] });
    const epoch = 5;
    const right = record({
      chain: chain.slice(0, 3),
      snapshots: [snapshot('s', 'layer-3')],
      epoch,
    });
    expect(() => assertStep(before, right)).not.toThrow();
    const snapshots = [snapshot('s', 'layer-3')];
    wrong(before, record({ chain: chain.slice(0, 4), snapshots, epoch }), /vanished \(rule 4\)/);
    const writing = record({ chain, snapshots, tail: open(6, ['n1']), epoch: 6 });
    wrong(writing, { ...right, epoch: 6 }, /vanished/);
  });

  test('brings a base back', () => {
    const base = record({ ...cloned, role: 'base' });
    wrong(base, record(cloned), /a base became something else/);
  });

  test('becomes a base without what clones see', () => {
    const before = record(cloned);
    wrong(before, record({ chain: chain.slice(0, 1), role: 'base', epoch: 6 }), /under a clone/);
  });
});
