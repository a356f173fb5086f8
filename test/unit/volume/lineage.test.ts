import { expect, test } from 'vitest';
import {
  dependantsOf,
  goesOnFrom,
  type Lookup,
  layersBelow,
  layersSeen,
  seenBy,
} from '../../../src/volume/lineage.ts';
import type { Parent, SealedLayer, Volume } from '../../../src/volume/types.ts';
import { mebibyte, record, sealed } from './fixtures.ts';

const layer = (id: string, epoch: number): SealedLayer => sealed(epoch, ['n1'], { id });
const from = (volume: string, at: string, layers = 1): Parent => ({
  volume,
  layer: at,
  sizeBytes: 64 * mebibyte,
  layers,
});

/** a ← b (from a2) ← c (from b1), and a ← d (from a1), which has no layers of its own. */
const a = record({
  id: 'a',
  chain: [layer('a1', 1), layer('a2', 2), layer('a3', 3)],
  clones: [
    { volume: 'b', layer: 'a2' },
    { volume: 'd', layer: 'a1' },
  ],
});
const b = record({
  id: 'b',
  parent: from('a', 'a2', 2),
  chain: [layer('b1', 2), layer('b2', 3)],
  clones: [{ volume: 'c', layer: 'b1' }],
});
const c = record({ id: 'c', parent: from('b', 'b1', 3), chain: [layer('c1', 2)] });
const d = record({ id: 'd', parent: from('a', 'a1') });

const among =
  (...records: Volume[]): Lookup =>
  (id) =>
    records.find((r) => r.id === id);
const all = among(a, b, c, d);

const seen = (volume: Volume, lookup = all) =>
  layersSeen(volume, lookup)?.map(({ home, layer: { id } }) => `${home.id}/${id}`) ?? null;

test('a volume shows its ancestors up to where it goes on, and then its own layers', () => {
  expect(seen(a)).toEqual(['a/a1', 'a/a2', 'a/a3']);
  expect(seen(b)).toEqual(['a/a1', 'a/a2', 'b/b1', 'b/b2']);
  expect(seen(c)).toEqual(['a/a1', 'a/a2', 'b/b1', 'c/c1']);
  expect(seen(d)).toEqual(['a/a1']);
  expect(layersBelow(a, all)).toEqual([]);
  expect(layersBelow(c, all)?.map((l) => l.layer.id)).toEqual(['a1', 'a2', 'b1']);
});

test('what is not known here is said, never left out', () => {
  expect(seen(c, among(b, c))).toBeNull();
  expect(seen(c, among(a, c))).toBeNull();
  expect(seen(record({ id: 'x', parent: from('a', 'gone') }))).toBeNull();
  const mine = record({ id: 'm', parent: from('n', 'n1'), chain: [layer('m1', 1)] });
  const yours = record({ id: 'n', parent: from('m', 'm1'), chain: [layer('n1', 1)] });
  expect(seen(mine, among(mine, yours))).toBeNull();
});

test('dependants are clones, and theirs, with the layer of this record up to which they see', () => {
  const found = (of: Volume, lookup = all) =>
    dependantsOf(of, lookup).map(({ volume, upTo }) => `${volume.id} ${upTo}`);
  expect(found(a)).toEqual(['b a2', 'c a2', 'd a1']);
  expect(found(b)).toEqual(['c b1']);
  expect(found(c)).toEqual([]);
  expect(found(a, among(a, c, d))).toEqual(['d a1']);
  const elsewhere = record({ id: 'b', parent: from('q', 'q1') });
  expect(found(a, among(a, elsewhere, d))).toEqual(['d a1']);
});

test('a layer is seen by those that go on from it or from a newer one', () => {
  const by = (of: Volume, id: string) => seenBy(of, id, dependantsOf(of, all)).map((v) => v.id);
  expect(by(a, 'a1')).toEqual(['b', 'c', 'd']);
  expect(by(a, 'a2')).toEqual(['b', 'c']);
  expect(by(a, 'a3')).toEqual([]);
  expect(by(a, 'garbage')).toEqual([]);
  expect(by(b, 'b1')).toEqual(['c']);
});

test('a record goes on from its parent until it is deleted, gone, or has left it', () => {
  expect(goesOnFrom(b, 'a')).toBe(true);
  expect(goesOnFrom({ ...b, role: 'base' }, 'a')).toBe(true);
  expect(goesOnFrom(undefined, 'a')).toBe(false);
  expect(goesOnFrom({ ...b, tail: { phase: 'deleting' } }, 'a')).toBe(false);
  expect(goesOnFrom(b, 'c')).toBe(false);
  expect(goesOnFrom(a, 'b')).toBe(false);
  // Its heads may read its former parent's layers until none of that epoch is left.
  const leaving = record({ id: 'x', leaving: { volume: 'a', afterEpoch: 4 } });
  expect(goesOnFrom(leaving, 'a')).toBe(true);
  expect(goesOnFrom(leaving, 'b')).toBe(false);
});
