/** Who is to look again when a record changes with which it shares layers. */
import { expect, it } from 'vitest';
import { Kin } from '../../src/node/kin.ts';
import type { Volume } from '../../src/volume/types.ts';
import { replica, sealed, volumeRecord } from './api-fake-service.ts';

const layer = sealed(1, [replica('n1', 'clean')]);
const parent = volumeRecord({ id: 'parent', chain: [layer], epoch: 1 });
const other = volumeRecord({ id: 'other', epoch: 1 });
const clone = volumeRecord({
  id: 'clone',
  epoch: 1,
  parent: { volume: parent.id, layer: layer.id, sizeBytes: layer.sizeBytes, layers: 1 },
});
const flattened = volumeRecord({
  id: 'clone',
  epoch: 2,
  leaving: { volume: parent.id, afterEpoch: 1 },
});
const alone = volumeRecord({ id: 'clone', epoch: 3 });

function kin(...records: Volume[]): Kin {
  const known = [parent, other, ...records];
  const made = new Kin((id) => known.find((v) => v.id === id));
  made.begin(known);
  return made;
}

it('has a parent look again when its clone goes on from it no longer', () => {
  const kinOf = kin(clone);
  expect([...kinOf.of(clone.id, flattened)]).toEqual([parent.id]);
  expect([...kinOf.of(clone.id, alone)]).toEqual([parent.id]);
  expect([...kinOf.of(clone.id, null)]).toEqual([parent.id]);
  expect([...kinOf.of(clone.id, null)]).toEqual([]);
});

it('does so too when the clone was flattened before this began', () => {
  expect([...kin(flattened).of(clone.id, alone)]).toEqual([parent.id]);
});

it('does so too when all it hears of the clone is that it is gone', () => {
  expect([...kin(clone).of(clone.id, null)]).toEqual([parent.id]);
});

it('concerns nobody else', () => {
  expect([...kin(clone).of(other.id, other)]).toEqual([]);
});
