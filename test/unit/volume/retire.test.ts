/** A pool that is gone for good leaves no trace in a record, and takes no data with it unasked. */
import { describe, expect, test } from 'vitest';
import { type RetireStep, retireStep } from '../../../src/cluster/retire.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import {
  isNamed,
  isWrittenTo,
  loseCopy,
  onlyThere,
  retirePool,
} from '../../../src/volume/retire.ts';
import type { Merge, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  fencing,
  node,
  open,
  opening,
  poolOf,
  record,
  refuses,
  replicas,
  sealed,
  unsealed,
} from './fixtures.ts';

const n2 = { node: 'n2', pool: poolOf('n2') };
const holder = (node: string) => ({ node, pool: poolOf(node) });

describe('retirePool', () => {
  test('takes copies, garbage and the attachment of the node away, and leaves the rest', () => {
    const garbage = [
      { layer: 'old', epoch: 1, afterEpoch: 0, holders: [holder('n2')] },
      { layer: 'older', epoch: 1, afterEpoch: 0, holders: [holder('n1'), holder('n2')] },
    ];
    const before = record({
      attachments: [attachment('n1'), attachment('n2')],
      chain: [sealed(2, ['n1', 'n2']), sealed(3, ['n1', 'n2?', 'n3+'])],
      tail: open(4, ['n1', 'n3']),
      garbage,
    });
    const after = retirePool(before, n2);
    assertStep(before, after);
    expect(isNamed(before, n2)).toBe(true);
    expect(isNamed(after, n2)).toBe(false);
    expect(after.attachments).toEqual([attachment('n1')]);
    expect(after.chain.map((l) => l.replicas)).toEqual([replicas('n1'), replicas('n1', 'n3+')]);
    expect(after.garbage.map((g) => [g.layer, g.holders])).toEqual([['older', [holder('n1')]]]);
    expect(after.tail).toEqual(before.tail);
  });

  test('nobody waits for it with a tombstone', () => {
    const garbage = [{ layer: 'old', epoch: 1, afterEpoch: 0, holders: [holder('n2')] }];
    const before = record({ tail: { phase: 'deleting' }, garbage });
    expect(retirePool(before, n2).garbage).toEqual([]);
  });

  test('a merge that it takes part in is given up', () => {
    const merge: Merge = {
      layers: ['layer-1', 'layer-2'],
      into: 'merged',
      builder: 'n1',
      manifest: 'root',
      bytes: 1,
      replicas: replicas('n1', 'n2+'),
    };
    const before = record({ chain: [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2'])], merge });
    const after = retirePool(before, n2);
    assertStep(before, after);
    expect(after.merge).toBeNull();
    expect(after.garbage).toMatchObject([{ layer: 'merged', holders: [holder('n1')] }]);
    expect(isNamed(after, n2)).toBe(false);
  });

  test('another pool of a node of that name is another one', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2'])] });
    expect(retirePool(before, { node: 'n2', pool: 'former' })).toBe(before);
  });

  test('is refused for the only clean copy, and says which', () => {
    const volume = record({ chain: [sealed(1, ['n1', 'n2']), sealed(2, ['n2', 'n1?'])] });
    expect(onlyThere(volume, poolOf('n2')).map((l) => l.epoch)).toEqual([2]);
    refuses(volume, (v) => retirePool(v, n2), /only clean copy of layer 2/, 'not-allowed');
  });

  test.each([
    ['open', open(2, ['n1', 'n2'])],
    ['closing', opening(unsealed(3, ['n1', 'n3']), unsealed(2, ['n1', 'n2']))],
    ['opening', opening(unsealed(2, ['n1', 'n2']), null)],
    ['fencing', fencing('n1', 3, unsealed(2, ['n2']))],
  ])('waits while a layer that is %s has a member there', (_, tail) => {
    const volume = record({ chain: [sealed(1, ['n1'])], tail });
    expect(isWrittenTo(volume, poolOf('n2'))).toBe(true);
    expect(isWrittenTo(volume, poolOf('n4'))).toBe(false);
    refuses(volume, (v) => retirePool(v, n2), /has a member on n2/);
  });
});

describe('loseCopy', () => {
  test('a copy without a file counts no more', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2'])] });
    const after = loseCopy(before, 'layer-1', n2);
    assertStep(before, after);
    expect(after.chain[0]?.replicas).toEqual(replicas('n1'));
  });

  test('the last sound copy stays', () => {
    const volume = record({ chain: [sealed(1, ['n2', 'n1?'])] });
    refuses(volume, (v) => loseCopy(v, 'layer-1', n2), /only clean copy/, 'not-allowed');
    const damage = { ranges: [], bytes: 1, foundAt: '', readUpTo: 0 };
    const [good, bad] = replicas('n2', 'n1');
    const damaged = record({
      chain: [sealed(1, [], { authority: 'n2', replicas: [good!, { ...bad!, damage }] })],
    });
    refuses(damaged, (v) => loseCopy(v, 'layer-1', n2), /only clean copy/, 'not-allowed');
    refuses(volume, (v) => loseCopy(v, 'layer-1', holder('n3')), /has no copy/);
  });
});

describe('what it takes to be rid of a node', () => {
  const nodes = (...down: string[]) =>
    ['n1', 'n2', 'n3'].map((name) => node(name, { up: name !== 'n2' && !down.includes(name) }));
  const chain = [sealed(1, ['n1', 'n2'])];

  test.each<[string, RetireStep['kind'], Partial<Volume>, string[]]>([
    ['a volume that does not name it', 'done', { chain: [sealed(1, ['n1'])] }, []],
    ['copies that others have too', 'strip', { chain }, []],
    ['an attachment', 'strip', { attachments: [attachment('n2')] }, []],
    ['the only clean copy', 'lossy', { chain: [sealed(1, ['n2', 'n1?'])] }, []],
    ['a member of what is written elsewhere', 'wait', { chain, tail: open(2, ['n1', 'n2']) }, []],
    ['the writer, with a member that stayed up', 'take-over', { tail: open(2, ['n2', 'n1']) }, []],
    ['the writer, alone', 'lossy', { tail: open(2, ['n2']) }, []],
    ['the writer, with a member that is down', 'lossy', { tail: open(2, ['n2', 'n1']) }, ['n1']],
    ['a writer that is down as well', 'take-over', { tail: open(2, ['n3', 'n2', 'n1']) }, ['n3']],
    ['a take-over under way', 'wait', { tail: fencing('n1', 3, unsealed(2, ['n2', 'n1'])) }, []],
    [
      'a take-over by a node that is down',
      'take-over',
      { tail: fencing('n3', 3, unsealed(2, ['n2', 'n1'])) },
      ['n3'],
    ],
    ['its own first opening', 'abandon', { tail: opening(unsealed(1, ['n2']), null) }, []],
    [
      'the first opening of another',
      'wait',
      { tail: opening(unsealed(1, ['n1', 'n2']), null) },
      [],
    ],
  ])('%s: %s', (_, kind, changes, down) => {
    expect(retireStep(record(changes), n2, nodes(...down)).kind).toBe(kind);
  });

  test('a member that rebooted is no authority', () => {
    const volume = record({ tail: open(2, ['n2', 'n1']) });
    const rebooted = [node('n1', { boot: 'later' }), node('n2', { up: false })];
    expect(retireStep(volume, n2, rebooted)).toMatchObject({
      kind: 'lossy',
      why: expect.stringContaining('stayed up since epoch 2'),
    });
  });
});
