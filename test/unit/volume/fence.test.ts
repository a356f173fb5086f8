import { describe, expect, test } from 'vitest';
import type { Fenced } from '../../../src/volume/fence.ts';
import {
  beginFencing,
  chooseAuthority,
  completeFencing,
  takeOverEpoch,
} from '../../../src/volume/fence.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import {
  attachment,
  bootOf,
  fencing,
  open,
  opening,
  poolOf,
  record,
  refuses,
  sealed,
  unsealed,
} from './fixtures.ts';

const gone: string[] = [];
const layer = unsealed(1, ['n1', 'n2', 'n3']);

/** What a fenced member answers: the same boot and the file there, unless said otherwise. */
function answer(node: string, changes: Partial<Fenced> = {}): Fenced {
  return { node, pool: poolOf(node), boot: bootOf(node), holds: true, ...changes };
}
const rebooted = (node: string, changes: Partial<Fenced> = {}) =>
  answer(node, { boot: 'later', ...changes });

describe('takeOverEpoch', () => {
  test('ends the epoch it was decided for, and no later one', () => {
    const decided = { epoch: 1, revoke: ['n1'] };
    const before = record({ tail: open(1, ['n1', 'n2']) });
    expect(takeOverEpoch(before, 'n2', decided)).toEqual(beginFencing(before, 'n2', ['n1']));
    // The writer came back meanwhile, and began another.
    const later = record({ tail: open(2, ['n1', 'n2']) });
    refuses(later, (v) => takeOverEpoch(v, 'n2', decided), /epoch 1 is over/);
  });
});

describe('beginFencing', () => {
  test('an open epoch is ended by a higher one; dead consumers are revoked', () => {
    const attachments = [attachment('n1'), attachment('n2')];
    const before = record({ attachments, tail: open(1, ['n1', 'n2']) });
    const after = beginFencing(before, 'n2', ['n1']);
    assertStep(before, after);
    expect(after.tail).toEqual({
      phase: 'fencing',
      taker: 'n2',
      epoch: 2,
      unsealed: unsealed(1, ['n1', 'n2']),
    });
    expect(after.epoch).toBe(2);
    expect(after.attachments).toEqual([attachment('n2')]);
  });

  test('of a roll ends the layer that closes; the prepared one is deleted', () => {
    const before = record({ tail: opening(unsealed(2, ['n1', 'n3']), layer) });
    const after = beginFencing(before, 'n2', gone);
    assertStep(before, after);
    expect(after.tail).toMatchObject({ epoch: 3, unsealed: layer });
    expect(after.garbage).toMatchObject([{ layer: 'layer-2', afterEpoch: 0 }]);
  });

  test('of a taker that is gone goes on in its place', () => {
    const before = record({ tail: fencing('n2', 2, layer) });
    const after = beginFencing(before, 'n3', []);
    assertStep(before, after);
    expect(after.tail).toMatchObject({ taker: 'n3', epoch: 3 });
  });

  test('is refused where nothing was open', () => {
    refuses(record(), (v) => beginFencing(v, 'n2', gone), /it is idle/);
    const first = record({ tail: opening(unsealed(1, ['n1']), null) });
    refuses(first, (v) => beginFencing(v, 'n2', gone), /just be abandoned/);
    const deleted = record({ tail: { phase: 'deleting' } });
    refuses(deleted, (v) => beginFencing(v, 'n2', gone), /it is deleting/);
  });
});

describe('chooseAuthority', () => {
  const choose = (...fenced: Fenced[]) => chooseAuthority(layer, fenced, 'n3');

  test('one member of the same boot is enough', () => {
    expect(choose(answer('n2'))).toBe('n2');
  });

  test('the preferred one of several', () => {
    expect(choose(answer('n2'), answer('n3'))).toBe('n3');
    expect(choose(answer('n1'), answer('n2'))).toBe('n1');
  });

  test('a rebooted member waits while one that did not reboot may come back (rule 6)', () => {
    expect(choose(rebooted('n2'))).toBeUndefined();
    expect(choose(rebooted('n1'), rebooted('n2'))).toBeUndefined();
    expect(choose(rebooted('n1'), rebooted('n2'), answer('n3', { holds: false }))).toBeUndefined();
  });

  test('a rebooted member is passed over for one of the same boot', () => {
    expect(choose(rebooted('n3'), answer('n1'))).toBe('n1');
  });

  test('when all members are proven to have rebooted, any that holds the layer will do', () => {
    expect(choose(rebooted('n1'), rebooted('n2'), rebooted('n3'))).toBe('n3');
    const lost = { holds: false };
    expect(choose(rebooted('n1'), rebooted('n2'), rebooted('n3', lost))).toBe('n1');
    expect(
      choose(rebooted('n1', lost), rebooted('n2', lost), rebooted('n3', lost)),
    ).toBeUndefined();
  });

  test('a member without the file, with another pool, or that is no member, decides nothing', () => {
    expect(choose(answer('n2', { holds: false }))).toBeUndefined();
    expect(choose(answer('n2', { pool: 'a new disk' }))).toBeUndefined();
    expect(choose(answer('n9'))).toBeUndefined();
    const others = [rebooted('n1'), rebooted('n2')];
    expect(choose(...others, rebooted('n3', { pool: 'a new disk' }))).toBeUndefined();
  });
});

describe('completeFencing', () => {
  const before = record({ tail: fencing('n2', 2, layer) });

  test('seals with one authority; all others are unverified', () => {
    const after = completeFencing(before, 'n2', [answer('n2'), answer('n3')], 'n2');
    assertStep(before, after);
    expect(after.tail).toEqual({ phase: 'idle' });
    const copies = ['n1?', 'n2', 'n3?'];
    expect(after.chain).toEqual([sealed(1, copies, { manifest: null, bytes: null })]);
    expect(after.chain[0]?.authority).toBe('n2');
  });

  test('without a possible authority it is unavailable and names who is needed', () => {
    const text = /no member of layer 1 that has stayed up/;
    const none = (v: typeof before) => completeFencing(v, 'n2', [rebooted('n2')], 'n2');
    refuses(before, none, text, 'unavailable');
    expect(() => none(before)).toThrow(
      expect.objectContaining({ hint: 'Bring back one of n1, n2, n3.' }),
    );
  });

  test('is refused to anyone but the taker, and in every other phase', () => {
    const all = [answer('n1'), answer('n2'), answer('n3')];
    refuses(before, (v) => completeFencing(v, 'n3', all, 'n3'), /n3 is not the one taking over/);
    const idle = record({ chain: [sealed(1, ['n2', 'n1?'])] });
    refuses(idle, (v) => completeFencing(v, 'n2', all, 'n2'), /not the one taking over/);
  });
});
