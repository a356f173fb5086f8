import { describe, expect, test } from 'vitest';
import { maxSnapshots } from '../../../src/volume/bounds.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { completeMerge } from '../../../src/volume/merge.ts';
import {
  addSnapshot,
  findSnapshot,
  heldBytes,
  protectSnapshot,
  removeSnapshot,
  revertTo,
} from '../../../src/volume/snapshots.ts';
import type { Merge, Snapshot, Volume } from '../../../src/volume/types.ts';
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

const at = '2026-01-02T00:00:00Z';
const chain = [1, 2, 3].map((epoch) => sealed(epoch, ['n1', 'n2']));
const wish = (id: string, name = id) => ({ id, name, createdAt: at });

function snapshot(id: string, layer: string | null, changes: Partial<Snapshot> = {}): Snapshot {
  return { id, name: id, layer, sizeBytes: 64 * mebibyte, createdAt: at, ...changes };
}

function merge(layers: string[], into = 'merged'): Merge {
  const built = { manifest: 'root', bytes: 1, replicas: replicas('n1', 'n2') };
  return { layers, into, builder: 'n1', ...built };
}

describe('addSnapshot', () => {
  test('ends at the newest sealed layer; nothing is copied', () => {
    for (const tail of [{ phase: 'idle' } as const, open(4, ['n1', 'n2'])]) {
      const before = record({ chain, tail });
      const after = addSnapshot(before, wish('s', 'monday'));
      assertStep(before, after);
      expect(after).toEqual({
        ...before,
        snapshots: [snapshot('s', 'layer-3', { name: 'monday' })],
      });
    }
  });

  test('of a volume without layers shows what it began with', () => {
    expect(addSnapshot(record(), wish('s')).snapshots).toEqual([snapshot('s', null)]);
  });

  test('has the size that what is sealed had, or that an idle volume was given', () => {
    const sizeBytes = 128 * mebibyte;
    const idle = addSnapshot(record({ chain, sizeBytes }), wish('s'));
    expect(idle.snapshots?.[0]?.sizeBytes).toBe(sizeBytes);
    const layer = { ...unsealed(4, ['n1']), sizeBytes };
    const tail = { phase: 'open', reason: 'extend', layer } as const;
    const opened = addSnapshot(record({ chain, tail, sizeBytes }), wish('s'));
    expect(opened.snapshots?.[0]?.sizeBytes).toBe(64 * mebibyte);
  });

  test('several may end at one layer, in order', () => {
    const one = addSnapshot(record({ chain }), wish('a'));
    const two = addSnapshot(one, wish('b'));
    assertStep(one, two);
    expect(two.snapshots?.map((s) => [s.id, s.layer])).toEqual([
      ['a', 'layer-3'],
      ['b', 'layer-3'],
    ]);
  });

  test('again with the same id and name changes nothing, whatever the phase is by now', () => {
    const snapshots = [snapshot('s', 'layer-3')];
    const tail = opening(unsealed(4, ['n1']), null);
    for (const before of [record({ chain, snapshots }), record({ chain, snapshots, tail })]) {
      expect(addSnapshot(before, wish('s'))).toBe(before);
    }
  });

  test('is refused while it is not settled what is sealed', () => {
    const add = (v: Volume) => addSnapshot(v, wish('s'));
    const closing = unsealed(3, ['n1', 'n2']);
    refuses(record({ tail: opening(unsealed(4, ['n1']), closing) }), add, /it is opening/);
    refuses(record({ tail: fencing('n2', 4, closing) }), add, /it is fencing/);
    refuses(record({ tail: { phase: 'deleting' } }), add, /it is deleting/);
  });

  test('is refused with a name or an id that is taken, for images, and when there are too many', () => {
    const before = record({ chain, snapshots: [snapshot('s', 'layer-3', { name: 'monday' })] });
    refuses(before, (v) => addSnapshot(v, wish('t', 'monday')), /has a snapshot monday/, 'exists');
    refuses(before, (v) => addSnapshot(v, wish('s', 'other')), /has a snapshot monday/, 'exists');
    const add = (v: Volume) => addSnapshot(v, wish('s'));
    refuses(record({ chain, role: 'image' }), add, /is an image/, 'not-allowed');
    refuses(record({ chain, role: 'base' }), add, /never changes/, 'not-allowed');
    const full = Array.from({ length: maxSnapshots }, (_, i) => snapshot(`s${i}`, 'layer-3'));
    refuses(record({ chain, snapshots: full }), add, /has 256 snapshots/, 'not-allowed');
  });

  test('at the top of a merge under way moves to what the run is merged into', () => {
    const before = record({ chain, merge: merge(['layer-2', 'layer-3']) });
    const kept = addSnapshot(before, wish('s'));
    assertStep(before, kept);
    const merged = completeMerge(kept, 'merged');
    assertStep(kept, merged);
    expect(merged.snapshots?.map((s) => s.layer)).toEqual(['merged']);
    const above = record({ chain, merge: merge(['layer-1', 'layer-2']) });
    const top = completeMerge(addSnapshot(above, wish('s')), 'merged');
    expect(top.snapshots?.map((s) => s.layer)).toEqual(['layer-3']);
  });
});

describe('findSnapshot', () => {
  const before = record({
    chain,
    snapshots: [snapshot('a', 'layer-1', { name: 'b' }), snapshot('b', 'layer-2', { name: 'c' })],
  });

  test('knows a snapshot by name and by id; the name first', () => {
    expect(findSnapshot(before, 'c').id).toBe('b');
    expect(findSnapshot(before, 'a').id).toBe('a');
    expect(findSnapshot(before, 'b').id).toBe('a');
  });

  test('says what is not there', () => {
    refuses(before, (v) => findSnapshot(v, 'x"y'), /no snapshot "x\\"y"/, 'not-found');
  });
});

describe('removeSnapshot', () => {
  test('forgets it, and that nothing keeps its layer apart any more', () => {
    const before = record({
      chain,
      snapshots: [snapshot('a', 'layer-1'), snapshot('b', 'layer-2')],
    });
    const after = removeSnapshot(before, 'a');
    assertStep(before, after);
    expect(after).toEqual({ ...before, snapshots: [snapshot('b', 'layer-2')], loose: ['layer-1'] });
    const none = removeSnapshot(after, 'b');
    assertStep(after, none);
    expect(none).not.toHaveProperty('snapshots');
    expect(none.loose).toEqual(['layer-1', 'layer-2']);
  });

  test('a layer that another snapshot or a clone needs is not loose', () => {
    const twins = record({
      chain,
      snapshots: [snapshot('a', 'layer-1'), snapshot('b', 'layer-1')],
    });
    expect(removeSnapshot(twins, 'a')).not.toHaveProperty('loose');
    const clones = [{ volume: 'c', layer: 'layer-2' }];
    const cloned = record({ chain, clones, snapshots: [snapshot('a', 'layer-1')] });
    expect(removeSnapshot(cloned, 'a')).not.toHaveProperty('loose');
    const empty = record({ chain, snapshots: [snapshot('a', null)] });
    expect(removeSnapshot(empty, 'a')).not.toHaveProperty('loose');
  });

  test('one that is not there changes nothing; a protected one stays', () => {
    const before = record({ chain, snapshots: [snapshot('a', 'layer-1', { protected: true })] });
    expect(removeSnapshot(before, 'x')).toBe(before);
    refuses(before, (v) => removeSnapshot(v, 'a'), /a of volume disk is protected/, 'not-allowed');
    const freed = protectSnapshot(before, 'a', false);
    assertStep(before, freed);
    expect(freed.snapshots).toEqual([snapshot('a', 'layer-1')]);
    assertStep(freed, removeSnapshot(freed, 'a'));
  });

  test('protecting is idempotent and needs the snapshot', () => {
    const before = record({ chain, snapshots: [snapshot('a', 'layer-1')] });
    const after = protectSnapshot(before, 'a', true);
    assertStep(before, after);
    expect(after.snapshots?.[0]?.protected).toBe(true);
    expect(protectSnapshot(after, 'a', true)).toBe(after);
    expect(protectSnapshot(before, 'a', false)).toBe(before);
    refuses(before, (v) => protectSnapshot(v, 'x', true), /no snapshot/, 'not-found');
  });
});

describe('revertTo', () => {
  const snapshots = [snapshot('a', 'layer-1')];

  test('drops what is above the snapshot, with its files, and takes its size', () => {
    const lower = [sealed(1, ['n1', 'n2'], { sizeBytes: 32 * mebibyte }), ...chain.slice(1)];
    const small = [snapshot('a', 'layer-1', { sizeBytes: 32 * mebibyte })];
    const before = record({ chain: lower, snapshots: small, epoch: 7 });
    const after = revertTo(before, 'a');
    assertStep(before, after);
    expect(after.chain).toEqual([lower[0]]);
    expect(after.snapshots).toEqual(small);
    expect(after).toMatchObject({ sizeBytes: 32 * mebibyte, epoch: 7, tail: { phase: 'idle' } });
    const holders = ['n1', 'n2'].map((node) => ({ node, pool: poolOf(node) }));
    expect(after.garbage).toEqual([
      { layer: 'layer-2', epoch: 2, afterEpoch: 7, holders },
      { layer: 'layer-3', epoch: 3, afterEpoch: 7, holders },
    ]);
  });

  test('to a snapshot of nothing drops all; to one at the top drops nothing', () => {
    const empty = record({ chain, snapshots: [snapshot('e', null)] });
    const emptied = revertTo(empty, 'e');
    assertStep(empty, emptied);
    expect(emptied.chain).toEqual([]);
    const top = record({ chain, snapshots: [snapshot('t', 'layer-3')] });
    const same = revertTo(top, 't');
    assertStep(top, same);
    expect(same).toEqual(top);
  });

  test('gives up a merge of what goes, and only that', () => {
    const touched = record({ chain, snapshots, merge: merge(['layer-2', 'layer-3']) });
    const after = revertTo(touched, 'a');
    assertStep(touched, after);
    expect(after.merge).toBeNull();
    expect(after.garbage.map((g) => g.layer).sort()).toEqual(['layer-2', 'layer-3', 'merged']);
    const kept = [snapshot('a', 'layer-2')];
    const below = record({ chain, snapshots: kept, merge: merge(['layer-1', 'layer-2']) });
    expect(revertTo(below, 'a').merge).toEqual(below.merge);
  });

  test('forgets that layers are loose that go or that are the top now', () => {
    const before = record({
      chain,
      snapshots: [snapshot('a', 'layer-2')],
      loose: ['layer-1', 'layer-3'],
    });
    expect(revertTo(before, 'a').loose).toEqual(['layer-1']);
    const top = record({ chain, snapshots: [snapshot('a', 'layer-2')], loose: ['layer-2'] });
    expect(revertTo(top, 'a')).not.toHaveProperty('loose');
  });

  test('is refused while attached, open, or when a newer snapshot or a clone needs what goes', () => {
    const revert = (v: Volume) => revertTo(v, 'a');
    const attached = record({ chain, snapshots, attachments: [attachment('n2')] });
    refuses(attached, revert, /is attached on n2/, 'in-use');
    refuses(record({ chain, snapshots, tail: open(4, ['n1']) }), revert, /it is open/);
    const newer = record({ chain, snapshots: [...snapshots, snapshot('b', 'layer-2')] });
    refuses(newer, revert, /newer snapshots: b/, 'in-use');
    const clones = [{ volume: 'c', layer: 'layer-2' }];
    refuses(record({ chain, snapshots, clones }), revert, /was cloned after/, 'in-use');
    refuses(record({ chain }), revert, /no snapshot/, 'not-found');
    const below = record({ chain, snapshots, clones: [{ volume: 'c', layer: 'layer-1' }] });
    assertStep(below, revert(below));
  });
});

test('bytes held by a snapshot are those of the layers down to the one before it', () => {
  const before = record({ chain, snapshots: [snapshot('a', 'layer-1'), snapshot('b', 'layer-3')] });
  const bytes = (v: Volume) => v.snapshots?.map((s) => heldBytes(v, s));
  expect(bytes(before)).toEqual([1000, 5000]);
  const unproven = [
    chain[0] ?? sealed(1, ['n1']),
    sealed(2, ['n1'], { bytes: null }),
    ...chain.slice(2),
  ];
  expect(bytes(record({ ...before, chain: unproven }))).toEqual([1000, null]);
  expect(heldBytes(before, snapshot('c', null))).toBe(0);
});
