import { describe, expect, test } from 'vitest';
import { assertStep } from '../../../src/volume/invariants.ts';
import {
  abandonOpening,
  close,
  confirmOpen,
  prepareOpen,
  prepareRoll,
} from '../../../src/volume/roll.ts';
import type { Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  fencing,
  member,
  open,
  opening,
  record,
  refuses,
  sealed,
  unsealed,
} from './fixtures.ts';

const self = (node: string, boot = bootOf(node)) => ({ node, boot });
const next = (...nodes: string[]) => ({ id: 'new', members: nodes.map((n) => member(n)) });
const attached = { attachments: [attachment('n1')] };

/** Applies a step and checks it against the rules. */
function step(before: Volume, apply: (volume: Volume) => Volume): Volume {
  const after = apply(before);
  assertStep(before, after);
  return after;
}

describe('prepareOpen', () => {
  test('names the first layer after an idle time, in a new epoch', () => {
    const before = record({ ...attached, chain: [sealed(3, ['n1', 'n2'])] });
    const after = step(before, (v) => prepareOpen(v, 'n1', next('n1', 'n2')));
    expect(after.epoch).toBe(4);
    expect(after.tail).toEqual({
      phase: 'opening',
      reason: 'attach',
      next: { ...unsealed(4, ['n1', 'n2']), id: 'new' },
      closing: null,
    });
  });

  test('replaces what the same writer had prepared, and has that deleted', () => {
    const before = record({ ...attached, tail: opening(unsealed(1, ['n1', 'n2']), null) });
    const after = step(before, (v) => prepareOpen(v, 'n1', next('n1')));
    expect(after.epoch).toBe(2);
    expect(after.garbage).toMatchObject([{ layer: 'layer-1', afterEpoch: 0 }]);
    expect(after.garbage[0]?.holders.map((h) => h.node)).toEqual(['n1', 'n2']);
  });

  test('is refused without an attachment, to another writer, and in every other phase', () => {
    refuses(record(), (v) => prepareOpen(v, 'n1', next('n1')), /has no attachment/);
    const two = { attachments: [attachment('n1'), attachment('n2')] };
    const phases: [Volume, RegExp][] = [
      [record({ ...two, tail: open(1, ['n1']) }), /it is open/],
      [record({ ...two, tail: opening(unsealed(1, ['n1']), null) }), /it is opening/],
      [record({ ...two, tail: fencing('n2', 2, unsealed(1, ['n1'])) }), /it is fencing/],
    ];
    for (const [volume, text] of phases) {
      refuses(volume, (v) => prepareOpen(v, 'n2', next('n2')), text);
    }
    const rolling = record({
      ...attached,
      tail: opening(unsealed(2, ['n1']), unsealed(1, ['n1'])),
    });
    refuses(rolling, (v) => prepareOpen(v, 'n1', next('n1')), /it is opening/);
  });

  test('the writer is the first member', () => {
    const before = record(attached);
    refuses(before, (v) => prepareOpen(v, 'n1', next('n2', 'n1')), /locality/);
    refuses(before, (v) => prepareOpen(v, 'n1', next()), /locality/);
  });
});

describe('prepareRoll', () => {
  test('keeps the old layer closing and names the next', () => {
    const before = record({ ...attached, tail: open(1, ['n1', 'n2']) });
    const after = step(before, (v) => prepareRoll(v, 'n1', 'evict', next('n1', 'n3')));
    expect(after.tail).toEqual({
      phase: 'opening',
      reason: 'evict',
      next: { ...unsealed(2, ['n1', 'n3']), id: 'new' },
      closing: unsealed(1, ['n1', 'n2']),
    });
  });

  test('replaces an unconfirmed roll; the old layer stays the one that closes', () => {
    const tail = opening(unsealed(2, ['n1', 'n3']), unsealed(1, ['n1', 'n2']));
    const before = record({ ...attached, tail });
    const after = step(before, (v) => prepareRoll(v, 'n1', 'member-unready', next('n1')));
    expect(after.tail).toMatchObject({ next: { epoch: 3 }, closing: { epoch: 1 } });
    expect(after.garbage).toMatchObject([{ layer: 'layer-2', afterEpoch: 0 }]);
  });

  test('is refused to anyone but the writer, and where nothing is open', () => {
    const rolled = (v: Volume) => prepareRoll(v, 'n1', 'seal', next('n1'));
    refuses(record({ tail: open(1, ['n2', 'n1']) }), rolled, /the writer is n2/);
    refuses(record(), rolled, /it is idle/);
    refuses(record({ tail: opening(unsealed(1, ['n1']), null) }), rolled, /it is opening/);
    refuses(record({ tail: fencing('n1', 2, unsealed(1, ['n1'])) }), rolled, /it is fencing/);
    refuses(record({ tail: { phase: 'deleting' } }), rolled, /it is deleting/);
    const before = record({ tail: open(1, ['n1', 'n2']) });
    refuses(before, (v) => prepareRoll(v, 'n1', 'seal', next('n2', 'n1')), /locality/);
  });
});

describe('confirmOpen', () => {
  const rolling = record({
    ...attached,
    tail: opening(unsealed(2, ['n1', 'n3']), unsealed(1, ['n1', 'n2'])),
  });

  test('after a crash only the writer is clean, all others are unverified (rule 5)', () => {
    const after = step(rolling, (v) => confirmOpen(v, 'layer-2', self('n1'), []));
    expect(after.chain).toEqual([sealed(1, ['n1', 'n2?'], { manifest: null, bytes: null })]);
    expect(after.tail).toEqual({
      phase: 'open',
      reason: 'evict',
      layer: unsealed(2, ['n1', 'n3']),
    });
  });

  test('after a graceful end every named member is clean', () => {
    const after = step(rolling, (v) => confirmOpen(v, 'layer-2', self('n1'), ['n1', 'n2']));
    expect(after.chain[0]?.replicas.map((r) => r.state)).toEqual(['clean', 'clean']);
  });

  test('a first epoch seals nothing', () => {
    const before = record({ ...attached, tail: opening(unsealed(1, ['n1']), null) });
    const after = step(before, (v) => confirmOpen(v, 'layer-1', self('n1'), []));
    expect(after.chain).toEqual([]);
    expect(after.tail.phase).toBe('open');
  });

  test('is refused for another layer, another writer, another phase', () => {
    refuses(rolling, (v) => confirmOpen(v, 'layer-1', self('n1'), []), /not the one prepared/);
    refuses(rolling, (v) => confirmOpen(v, 'layer-2', self('n3'), []), /not the one prepared/);
    const taken = record({ tail: fencing('n2', 3, unsealed(1, ['n1', 'n2'])) });
    refuses(taken, (v) => confirmOpen(v, 'layer-2', self('n1'), []), /it is fencing/);
    refuses(record(), (v) => confirmOpen(v, 'layer-2', self('n1'), []), /it is idle/);
  });

  test('a writer that rebooted since either layer was opened is no authority (rule 6)', () => {
    refuses(rolling, (v) => confirmOpen(v, 'layer-2', self('n1', 'later'), []), /rebooted/);
    const fresh = { ...unsealed(2, ['n1']), members: [member('n1', 'later')] };
    const mixed = record({ ...attached, tail: opening(fresh, unsealed(1, ['n1', 'n2'])) });
    refuses(mixed, (v) => confirmOpen(v, 'layer-2', self('n1', 'later'), []), /rebooted/);
  });
});

describe('close', () => {
  const before = record({ tail: open(1, ['n1', 'n2']) });

  test('seals the open layer and leaves nobody writing', () => {
    const after = step(before, (v) => close(v, 'layer-1', self('n1'), []));
    expect(after.tail).toEqual({ phase: 'idle' });
    expect(after.chain).toEqual([sealed(1, ['n1', 'n2?'], { manifest: null, bytes: null })]);
  });

  test('is refused for another layer, another writer, another phase, another boot', () => {
    refuses(before, (v) => close(v, 'layer-9', self('n1'), []), /is not open/);
    refuses(before, (v) => close(v, 'layer-1', self('n2'), []), /is not open/);
    refuses(record(), (v) => close(v, 'layer-1', self('n1'), []), /is not open/);
    refuses(before, (v) => close(v, 'layer-1', self('n1', 'later'), ['n1', 'n2']), /rebooted/);
  });
});

describe('abandonOpening', () => {
  test('gives up a first epoch; its containers are deleted', () => {
    const before = record({ ...attached, tail: opening(unsealed(1, ['n1', 'n2']), null) });
    const after = step(before, (v) => abandonOpening(v, 'layer-1'));
    expect(after.tail).toEqual({ phase: 'idle' });
    expect(after.epoch).toBe(1);
    expect(after.garbage).toMatchObject([{ layer: 'layer-1', afterEpoch: 0 }]);
  });

  test('is refused while an older layer is closing, for another layer, in another phase', () => {
    const rolling = record({ tail: opening(unsealed(2, ['n1']), unsealed(1, ['n1'])) });
    refuses(rolling, (v) => abandonOpening(v, 'layer-2'), /not a first layer/);
    const first = record({ tail: opening(unsealed(1, ['n1']), null) });
    refuses(first, (v) => abandonOpening(v, 'layer-9'), /not a first layer/);
    refuses(record({ tail: open(1, ['n1']) }), (v) => abandonOpening(v, 'layer-1'), /not a first/);
  });
});
