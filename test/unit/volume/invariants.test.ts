import { describe, expect, test } from 'vitest';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import type { Tail, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  fencing,
  member,
  open,
  opening,
  record,
  refuses,
  replicas,
  sealed,
  unsealed,
} from './fixtures.ts';

const chain = [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2?'])];
const broken = (volume: Volume, text: RegExp) => refuses(volume, assertRecord, text, 'rule-broken');
const wrong = (before: Volume, after: Volume, text: RegExp) =>
  refuses(after, (v) => assertStep(before, v), text, 'rule-broken');

describe('a record', () => {
  test.each<[string, Tail]>([
    ['idle', { phase: 'idle' }],
    ['open', open(3, ['n1', 'n2'])],
    ['opening', opening(unsealed(4, ['n1']), unsealed(3, ['n1', 'n2']))],
    ['fencing', fencing('n2', 4, unsealed(3, ['n1', 'n2']))],
  ])('that is right passes (%s)', (_, tail) => {
    expect(() => assertRecord(record({ chain, tail }))).not.toThrow();
  });

  test.each<[string, Partial<Volume>, RegExp]>([
    ['epochs that fall', { chain: [...chain].reverse() }, /epochs of the chain must rise/],
    [
      'an epoch of the chain above the record',
      { chain, epoch: 1 },
      /epochs of the chain must rise/,
    ],
    ['an epoch below one', { chain: [sealed(0, ['n1'])] }, /epochs of the chain must rise/],
    [
      'a layer without a clean copy',
      { chain: [sealed(1, ['n1?', 'n2+'])] },
      /no clean copy \(rule 7/,
    ],
    ['a node twice in a layer', { chain: [sealed(1, ['n1', 'n1?'])] }, /lists a node twice/],
    ['a host attached twice', { attachments: [attachment('n1'), attachment('n1', 'b')] }, /twice/],
    ['an open epoch not above the chain', { chain, tail: open(2, ['n1']) }, /used twice|not above/],
    ['an open epoch above the record', { tail: open(2, ['n1']), epoch: 1 }, /above the record/],
    ['a write set without its writer first', { tail: strayWriter() }, /not the first member/],
    ['a node twice in a write set', { tail: open(1, ['n1', 'n2', 'n2']) }, /lists a node twice/],
    ['a roll to another writer', { tail: otherWriter() }, /cannot change the writer/],
    ['a deleted volume that is attached', deleted({ attachments: [attachment('n1')] }), /attached/],
    ['a deleted volume with a chain', deleted({ chain }), /has a chain/],
  ])('with %s is broken', (_, changes, text) => {
    broken(record(changes), text);
  });

  test('with one layer id in two places is broken (rule 17)', () => {
    const tail: Tail = { ...open(3, ['n1']), phase: 'open', reason: 'attach', layer: sameId() };
    broken(record({ chain, tail }), /used twice/);
  });
});

function strayWriter(): Tail {
  return { phase: 'open', reason: 'attach', layer: { ...unsealed(1, ['n1', 'n2']), writer: 'n2' } };
}
function otherWriter(): Tail {
  return opening(unsealed(2, ['n2']), unsealed(1, ['n1']));
}
function deleted(changes: Partial<Volume>): Partial<Volume> {
  return { tail: { phase: 'deleting' }, ...changes };
}
function sameId() {
  return { ...unsealed(3, ['n1']), id: 'layer-1' };
}

describe('a step', () => {
  const opened = record({ chain, tail: open(3, ['n1', 'n2']) });
  const taken = record({ chain, tail: fencing('n2', 4, unsealed(3, ['n1', 'n2'])) });

  test('keeps the identity and never lowers the epoch', () => {
    wrong(record(), record({ id: 'other' }), /identity changed/);
    wrong(record({ epoch: 5 }), record({ epoch: 4 }), /the epoch went back/);
  });

  test('opens only what was prepared (rule 10)', () => {
    wrong(record(), record({ tail: open(1, ['n1']) }), /without having been prepared/);
    const prepared = record({ tail: opening({ ...unsealed(1, ['n1']), id: 'x' }, null) });
    wrong(prepared, record({ tail: open(1, ['n1']) }), /without having been prepared/);
  });

  test('does not change a write set within an epoch (rule 2)', () => {
    const text = /write set of a layer changed/;
    wrong(opened, record({ chain, tail: open(3, ['n1']) }), text);
    const layer = { ...unsealed(3, ['n1']), members: [member('n1'), member('n2', 'later')] };
    wrong(opened, record({ chain, tail: { phase: 'open', reason: 'attach', layer } }), text);
    const prepared = record({ chain, tail: opening(unsealed(3, ['n1', 'n2']), null) });
    wrong(prepared, record({ chain, tail: open(3, ['n1', 'n3']) }), text);
  });

  test('does not lose a layer that was written', () => {
    wrong(opened, record({ chain, epoch: 3 }), /vanished without being sealed/);
    wrong(taken, record({ chain, epoch: 4 }), /vanished without being sealed/);
    const rolled = record({ chain, tail: opening(unsealed(4, ['n1']), unsealed(3, ['n1', 'n2'])) });
    wrong(rolled, record({ chain, tail: open(4, ['n1']) }), /vanished without being sealed/);
  });

  test('seals before anything opens after a fence (rule 3)', () => {
    const done = [...chain, sealed(3, ['n2', 'n1?'])];
    wrong(taken, record({ chain: done, tail: open(4, ['n2']) }), /prepared|must seal/);
  });

  test('does not bring a deleted volume back', () => {
    wrong(record({ tail: { phase: 'deleting' } }), record(), /came back/);
  });

  test('keeps what a sealed layer is (rule 4)', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2'])] });
    const changed = (changes: object) => record({ chain: [sealed(1, ['n1', 'n2'], changes)] });
    wrong(before, record({ epoch: 1 }), /sealed layer 1 vanished/);
    wrong(before, changed({ manifest: 'other' }), /sealed layer 1 changed/);
    wrong(before, changed({ manifest: null }), /sealed layer 1 changed/);
    wrong(before, changed({ sizeBytes: 1 }), /sealed layer 1 changed/);
    wrong(before, changed({ authority: 'n2' }), /sealed layer 1 changed/);
  });

  test('may exchange layers only for the merge that covers them', () => {
    const merge = { layers: ['layer-1', 'layer-2'], into: 'merged', builder: 'n1' };
    const copies = { manifest: 'm', bytes: 1, replicas: replicas('n1') };
    const before = record({ chain, merge: { ...merge, ...copies } });
    const result = sealed(2, ['n1'], { id: 'merged' });
    expect(() => assertStep(before, record({ chain: [result] }))).not.toThrow();
    wrong(before, record({ chain: [chain[1] ?? result] }), /sealed layer 1 vanished/);
    wrong(record({ chain }), record({ chain: [result] }), /sealed layer 1 vanished/);
  });
});
