import { describe, expect, test } from 'vitest';
import { extendIdle, mustGrow } from '../../../src/volume/extend.ts';
import { beginFencing, completeFencing } from '../../../src/volume/fence.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import { beginMerge, completeMerge, recordMergeBuilt } from '../../../src/volume/merge.ts';
import { close, confirmOpen, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
import type { Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  fencing,
  mebibyte,
  member,
  open,
  opening,
  poolOf,
  record,
  refuses,
  sealed,
  unsealed,
} from './fixtures.ts';

const old = 64 * mebibyte;
const larger = 96 * mebibyte;
const largest = 128 * mebibyte;
const n1 = { node: 'n1', boot: bootOf('n1') };
const attached = { attachments: [attachment('n1')] };
const next = (sizeBytes?: number) => ({
  id: `new-${sizeBytes}`,
  members: [member('n1'), member('n2')],
  ...(sizeBytes === undefined ? {} : { sizeBytes }),
});
const opened = record({ ...attached, tail: open(1, ['n1', 'n2']) });

/** Applies a step and checks it against the rules. */
function step(before: Volume, apply: (volume: Volume) => Volume): Volume {
  const after = apply(before);
  assertStep(before, after);
  return after;
}

describe('an idle volume', () => {
  test('grows by its record alone, and its next layer is as large', () => {
    const grown = step(record({ ...attached, chain: [sealed(1, ['n1'])] }), (v) =>
      extendIdle(v, larger),
    );
    expect(grown.sizeBytes).toBe(larger);
    const begun = step(grown, (v) => prepareOpen(v, 'n1', next()));
    expect(begun.tail).toMatchObject({ phase: 'opening', next: { sizeBytes: larger } });
    expect(begun.chain[0]?.sizeBytes).toBe(old);
  });

  test('that has the size already is left as it is', () => {
    const before = record();
    expect(extendIdle(before, old)).toBe(before);
    expect(mustGrow(before, old)).toBe(false);
  });
});

test('nothing becomes smaller, nothing that is deleted or open grows by its record', () => {
  refuses(record(), (v) => extendIdle(v, old - 4096), /cannot become smaller/, 'bad-input');
  refuses(opened, (v) => prepareRoll(v, 'n1', 'extend', next(4096)), /smaller/, 'bad-input');
  refuses(record({ tail: { phase: 'deleting' } }), (v) => mustGrow(v, larger), /being deleted/);
  refuses(opened, (v) => extendIdle(v, larger), /it is open/);
  refuses(
    record({ tail: fencing('n2', 2, unsealed(1, ['n1'])) }),
    (v) => extendIdle(v, larger),
    /it is fencing/,
  );
});

describe('an open volume', () => {
  const prepared = step(opened, (v) => prepareRoll(v, 'n1', 'extend', next(larger)));

  test('has the size that was prepared once the layer is confirmed, not before', () => {
    expect(prepared.sizeBytes).toBe(old);
    expect(prepared.tail).toMatchObject({ reason: 'extend', next: { sizeBytes: larger } });
    const grown = step(prepared, (v) => confirmOpen(v, `new-${larger}`, n1, []));
    expect(grown.sizeBytes).toBe(larger);
    const closed = step(grown, (v) => close(v, `new-${larger}`, n1, []));
    expect(closed.chain.map((l) => l.sizeBytes)).toEqual([old, larger]);
  });

  test('keeps what was prepared when the roll is prepared anew, and the larger of two', () => {
    const again = step(prepared, (v) => prepareRoll(v, 'n1', 'member-unready', next()));
    expect(again.tail).toMatchObject({ next: { sizeBytes: larger } });
    const both = step(again, (v) => prepareRoll(v, 'n1', 'extend', next(largest)));
    expect(both.tail).toMatchObject({ next: { sizeBytes: largest } });
    const less = step(both, (v) => prepareRoll(v, 'n1', 'extend', next(larger)));
    expect(less.tail).toMatchObject({ next: { sizeBytes: largest } });
  });

  test('has its old size when it is taken over before the confirm', () => {
    const fenced = step(prepared, (v) => beginFencing(v, 'n2', ['n1']));
    const answer = { node: 'n2', pool: poolOf('n2'), boot: bootOf('n2'), holds: true };
    const sealedBy = step(fenced, (v) => completeFencing(v, 'n2', [answer], 'n2'));
    expect(sealedBy).toMatchObject({ sizeBytes: old, tail: { phase: 'idle' } });
  });
});

test('a merge is as large as the largest layer in it', () => {
  const chain = [
    sealed(1, ['n1', 'n2']),
    sealed(2, ['n1', 'n2'], { sizeBytes: larger }),
    sealed(3, ['n1', 'n2'], { sizeBytes: largest }),
  ];
  const before = record({ chain, sizeBytes: largest });
  const place = { node: 'n1', pool: poolOf('n1') };
  const begun = step(before, (v) => beginMerge(v, ['layer-1', 'layer-2'], 'm', place));
  const other = { node: 'n2', pool: poolOf('n2') };
  const built = recordMergeBuilt(begun, 'm', { root: 'r', bytes: 1 }, [other]);
  const ready = { ...built, merge: built.merge && { ...built.merge, replicas: [place, other] } };
  const clean = structuredClone(ready) as Volume;
  for (const replica of clean.merge?.replicas ?? []) replica.state = 'clean';
  const merged = step(clean, (v) => completeMerge(v, 'm'));
  expect(merged.chain.map((l) => l.sizeBytes)).toEqual([larger, largest]);
  const cut = structuredClone(merged) as Volume;
  for (const layer of cut.chain) if (layer.id === 'm') layer.sizeBytes = old;
  refuses(cut, (v) => assertStep(clean, v), /merge is smaller than layer 2/, 'rule-broken');
});

describe('a record or a step is broken', () => {
  const sized = (sizeBytes: number, epoch = 1) => ({ ...unsealed(epoch, ['n1']), sizeBytes });
  test.each<[string, Partial<Volume>, RegExp]>([
    [
      'a layer that is smaller than an older one',
      { chain: [sealed(1, ['n1'], { sizeBytes: larger }), sealed(2, ['n1'])], sizeBytes: larger },
      /layer 2 is smaller/,
    ],
    ['an open layer of another size', { tail: opening(sized(larger), null) }, /has 67108864 bytes/],
    ['a next layer that is smaller', { tail: opening(sized(4096, 2), sized(old)) }, /2 is smaller/],
    ['a layer larger than the volume', { chain: [sealed(1, ['n1'])], sizeBytes: 4096 }, /larger/],
  ])('with %s', (_, changes, text) => {
    refuses(record(changes), assertRecord, text, 'rule-broken');
  });

  test('when it shrinks, or grows to what was not prepared', () => {
    const small = record({ sizeBytes: 4096 });
    refuses(small, (v) => assertStep(record(), v), /became smaller/, 'rule-broken');
    const layer = { ...unsealed(1, ['n1']), sizeBytes: larger };
    const begun = record({ ...attached, tail: fencing('n1', 2, unsealed(1, ['n1'])) });
    const grown = { ...begun, sizeBytes: larger, tail: fencing('n1', 2, layer) };
    refuses(grown, (v) => assertStep(begun, v), /grew without/, 'rule-broken');
  });
});
