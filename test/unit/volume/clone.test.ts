import { describe, expect, test } from 'vitest';
import { maxClones, maxLayersForSeal } from '../../../src/volume/bounds.ts';
import { addClone, clonePoint, createClone, removeClone } from '../../../src/volume/clone.ts';
import { isNameless, isUnneededBase, markDeleted } from '../../../src/volume/delete.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import { beginMerge } from '../../../src/volume/merge.ts';
import type { Merge, Parent, Snapshot, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  fencing,
  mebibyte,
  open,
  opening,
  poolOf,
  record,
  refuses,
  replicas,
  sealed,
  unsealed,
} from './fixtures.ts';

const size = 64 * mebibyte;
const chain = [1, 2, 3].map((epoch) => sealed(epoch, ['n1', 'n2']));
const parent: Parent = { volume: 'p', layer: 'x', sizeBytes: size, layers: 4 };
const snapshot = (id: string, layer: string | null, sizeBytes = size): Snapshot => ({
  id,
  name: id,
  layer,
  sizeBytes,
  createdAt: '',
});
const merging = (layers: string[]): Merge => ({
  layers,
  into: 'merged',
  builder: 'n1',
  manifest: null,
  bytes: null,
  replicas: replicas('n1+'),
});

describe('clonePoint', () => {
  test('is the newest sealed layer, or that of a snapshot', () => {
    const snapshots = [snapshot('s', 'layer-1', size / 2)];
    for (const tail of [{ phase: 'idle' } as const, open(4, ['n1'])]) {
      const volume = record({ chain, tail, snapshots });
      const own = { volume: 'v', sizeBytes: size };
      expect(clonePoint(volume, null)).toEqual({
        parent: { ...own, layer: 'layer-3', layers: 3 },
        sizeBytes: size,
      });
      expect(clonePoint(volume, 's')).toEqual({
        parent: { ...own, layer: 'layer-1', layers: 1 },
        sizeBytes: size / 2,
      });
    }
  });

  test('counts the layers below it', () => {
    expect(clonePoint(record({ chain, parent }), null).parent?.layers).toBe(7);
  });

  test('of a volume without layers is what that one began with', () => {
    expect(clonePoint(record(), null)).toEqual({ parent: null, sizeBytes: size });
    expect(clonePoint(record({ parent }), null).parent).toEqual(parent);
    const later = record({ parent, chain, snapshots: [snapshot('s', null)] });
    expect(clonePoint(later, 's').parent).toEqual(parent);
  });

  test('of what is sealed waits until that is settled; a snapshot is settled always', () => {
    const snapshots = [snapshot('s', 'layer-1')];
    for (const tail of [
      opening(unsealed(5, ['n1']), unsealed(4, ['n1'])),
      fencing('n2', 5, unsealed(4, ['n1', 'n2'])),
    ]) {
      const volume = record({ chain, snapshots, tail });
      refuses(volume, (v) => clonePoint(v, null), new RegExp(`it is ${tail.phase}`));
      expect(clonePoint(volume, 's').parent?.layer).toBe('layer-1');
    }
    refuses(record({ tail: { phase: 'deleting' } }), (v) => clonePoint(v, null), /it is deleting/);
  });

  test('is refused without the snapshot, and where chains would become too long', () => {
    refuses(record({ chain }), (v) => clonePoint(v, 's'), /no snapshot/, 'not-found');
    const deep = { ...parent, layers: maxLayersForSeal - 3 };
    refuses(
      record({ chain, parent: deep }),
      (v) => clonePoint(v, null),
      /32 layers/,
      'not-allowed',
    );
    const almost = { ...parent, layers: maxLayersForSeal - 4 };
    expect(clonePoint(record({ chain, parent: almost }), null).parent?.layers).toBe(31);
  });
});

describe('createClone', () => {
  const { policy } = record();
  const request = { id: 'c', name: 'copy', sizeBytes: size, policy, createdAt: '' };

  test('goes on from the point and holds nothing yet', () => {
    const clone = createClone({ parent, sizeBytes: size }, request);
    assertRecord(clone);
    expect(clone).toMatchObject({
      id: 'c',
      name: 'copy',
      sizeBytes: size,
      parent,
      chain: [],
      epoch: 1,
    });
    expect(createClone({ parent: null, sizeBytes: size }, request)).not.toHaveProperty('parent');
    const image = createClone({ parent, sizeBytes: size }, { ...request, role: 'image' });
    expect(image.role).toBe('image');
  });

  test('may be larger, never smaller', () => {
    const point = { parent, sizeBytes: size };
    expect(createClone(point, { ...request, sizeBytes: 2 * size }).sizeBytes).toBe(2 * size);
    const smaller = () => createClone(point, { ...request, sizeBytes: size - 1 });
    refuses(record(), smaller, /is less than the 67108864 bytes/, 'bad-input');
  });
});

describe('addClone', () => {
  test('is noted beside others; one of the same id waits until the earlier one is forgotten', () => {
    const before = record({ chain });
    const one = addClone(before, { volume: 'a', layer: 'layer-1' });
    assertStep(before, one);
    const two = addClone(one, { volume: 'b', layer: 'layer-3' });
    assertStep(one, two);
    expect(two.clones).toEqual([
      { volume: 'a', layer: 'layer-1' },
      { volume: 'b', layer: 'layer-3' },
    ]);
    refuses(two, (v) => addClone(v, { volume: 'a', layer: 'layer-1' }), /id a is still noted/);
    refuses(two, (v) => addClone(v, { volume: 'a', layer: 'layer-3' }), /id a is still noted/);
  });

  test('gives up a merge of what the clone sees, and no other', () => {
    const before = record({ chain, merge: merging(['layer-2', 'layer-3']) });
    const seen = addClone(before, { volume: 'c', layer: 'layer-2' });
    assertStep(before, seen);
    expect(seen.merge).toBeNull();
    const holders = [{ node: 'n1', pool: poolOf('n1') }];
    expect(seen.garbage).toEqual([{ layer: 'merged', epoch: 3, afterEpoch: 0, holders }]);
    const below = addClone(before, { volume: 'c', layer: 'layer-1' });
    assertStep(before, below);
    expect(below.merge).toEqual(before.merge);
  });

  test('what it sees is not loose any more, and cannot be merged', () => {
    const before = record({ chain, loose: ['layer-1', 'layer-3'] });
    const after = addClone(before, { volume: 'c', layer: 'layer-2' });
    assertStep(before, after);
    expect(after.loose).toEqual(['layer-3']);
    const n1 = { node: 'n1', pool: poolOf('n1') };
    const merge =
      (...run: string[]) =>
      (v: Volume) =>
        beginMerge(v, run, 'm', n1);
    refuses(after, merge('layer-1', 'layer-2'), /a snapshot or a clone needs/);
    refuses(after, merge('layer-2', 'layer-3'), /a snapshot or a clone needs/);
  });

  test('is refused for a layer that is not sealed here, a deleted volume, and too many', () => {
    const add = (layer: string) => (v: Volume) => addClone(v, { volume: 'new', layer });
    refuses(record({ chain, tail: open(4, ['n1']) }), add('layer-4'), /layer-4 is not sealed/);
    refuses(record({ chain }), add('x'), /x is not sealed/);
    refuses(record({ tail: { phase: 'deleting' } }), add('x'), /being deleted/);
    const clones = Array.from({ length: maxClones }, (_, i) => ({
      volume: `c${i}`,
      layer: 'layer-1',
    }));
    refuses(record({ chain, clones }), add('layer-1'), /has 4096 clones/, 'not-allowed');
  });
});

describe('removeClone', () => {
  const clones = [
    { volume: 'a', layer: 'layer-1' },
    { volume: 'b', layer: 'layer-2' },
  ];

  test('forgets it; its layer is loose when nothing else needs it', () => {
    const before = record({ chain, clones });
    const upper = removeClone(before, 'b');
    assertStep(before, upper);
    expect(upper).toMatchObject({ clones: clones.slice(0, 1), loose: ['layer-2'] });
    const lower = removeClone(before, 'a');
    assertStep(before, lower);
    expect(lower).not.toHaveProperty('loose');
    const none = removeClone(upper, 'a');
    expect(none).not.toHaveProperty('clones');
    expect(none.loose).toEqual(['layer-2', 'layer-1']);
    const marked = record({ chain, clones, snapshots: [snapshot('s', 'layer-2')] });
    expect(removeClone(marked, 'b')).not.toHaveProperty('loose');
  });

  test('one that is not noted changes nothing', () => {
    const before = record({ chain, clones });
    expect(removeClone(before, 'x')).toBe(before);
  });
});

describe('the deletion of a volume with clones', () => {
  const clones = [{ volume: 'c', layer: 'layer-2' }];

  test('leaves a base without a name, of what clones see', () => {
    const before = record({ chain, clones, tail: open(4, ['n1', 'n2']), loose: ['layer-3'] });
    const after = markDeleted(before);
    assertStep(before, after);
    expect(after).toMatchObject({ role: 'base', tail: { phase: 'idle' }, epoch: 5, clones });
    expect(after.chain).toEqual(chain.slice(0, 2));
    expect(after.garbage.map((g) => g.layer)).toEqual(['layer-3', 'layer-4']);
    expect(after).not.toHaveProperty('loose');
    expect(isNameless(after)).toBe(true);
    expect(isUnneededBase(after)).toBe(false);
  });

  test('keeps the parent of a base, which clones see through it', () => {
    expect(markDeleted(record({ chain, clones, parent })).parent).toEqual(parent);
  });

  test('becomes a tombstone when no clone needs the base any more', () => {
    const base = markDeleted(record({ chain, clones }));
    const unneeded = removeClone(base, 'c');
    assertStep(base, unneeded);
    expect(isUnneededBase(unneeded)).toBe(true);
    const gone = markDeleted(unneeded);
    assertStep(unneeded, gone);
    expect(gone).toMatchObject({ tail: { phase: 'deleting' }, chain: [] });
    expect(gone.garbage.map((g) => g.layer)).toEqual(['layer-3', 'layer-1', 'layer-2']);
  });

  test('gives up merges, and is refused with snapshots or attachments', () => {
    const busy = record({
      chain,
      clones: [{ volume: 'c', layer: 'layer-1' }],
      merge: merging(['layer-2', 'layer-3']),
    });
    const after = markDeleted(busy);
    assertStep(busy, after);
    expect(after.merge).toBeNull();
    const kept = record({ chain, snapshots: [snapshot('s', 'layer-1')] });
    refuses(kept, markDeleted, /has 1 snapshots/, 'in-use');
    const used = record({ chain, clones, attachments: [attachment('n1')] });
    refuses(used, markDeleted, /is attached on n1/, 'in-use');
  });

  test('a volume or an image without clones is no base', () => {
    expect(isUnneededBase(record({ chain }))).toBe(false);
    expect(isUnneededBase(record({ chain, role: 'image' }))).toBe(false);
    expect(isNameless(record({ chain, role: 'image' }))).toBe(false);
    expect(isNameless(record({ tail: { phase: 'deleting' } }))).toBe(true);
  });
});
