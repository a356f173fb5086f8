import { describe, expect, test } from 'vitest';
import { concerned } from '../../../src/vm/place.ts';
import {
  arrived,
  claimed,
  cleared,
  type DomainSeen,
  failedToArrive,
  goesWithDomain,
  gone,
  isGone,
  isLeftover,
  migrating,
  moved,
  noted,
  settled,
  type VmState,
} from '../../../src/vm/record.ts';

const now = '2026-01-01T00:00:00.000Z';

function seen(change: Partial<DomainSeen> = {}): DomainSeen {
  return {
    uuid: '0b5f8f0e-0000-4000-8000-000000000001',
    name: 'web',
    presence: 'active',
    xml: '<domain/>',
    liveXml: '<domain id="1"/>',
    volumes: ['vol-1'],
    ...change,
  };
}

function recordOn(node: string, change: Partial<DomainSeen> = {}): VmState {
  const record = noted(undefined, seen(change), node);
  if (record === null) throw new Error('a domain with a volume is recorded');
  return record;
}

const toN2 = { from: 'n1', to: 'n2', since: now, made: ['vol-1'] };

describe('what a node has seen of its own domains', () => {
  test("a domain without volumes is nobody else's business", () => {
    expect(noted(undefined, seen({ volumes: [] }), 'n1')).toBeNull();
  });

  test('nothing changes when nothing has changed', () => {
    expect(noted(recordOn('n1'), seen(), 'n1')).toBeNull();
  });

  test('a disk more, and the end of the guest, are recorded', () => {
    const record = recordOn('n1');
    expect(noted(record, seen({ volumes: ['vol-1', 'vol-2'] }), 'n1')?.volumes).toEqual([
      'vol-1',
      'vol-2',
    ]);
    const off = noted(record, seen({ presence: 'defined', liveXml: null }), 'n1');
    expect(off).toMatchObject({ running: false, liveXml: null, node: 'n1' });
  });

  test('a definition that stayed behind does not take the record from where the guest runs', () => {
    const record = recordOn('n1');
    expect(noted(record, seen({ presence: 'defined', liveXml: null }), 'n2')).toBeNull();
  });

  test('a guest that libvirt moved by itself takes its record along', () => {
    expect(noted(recordOn('n1'), seen(), 'n2')).toMatchObject({ node: 'n2', running: true });
  });

  test('the record goes with the domain, but not while somebody has plans with it', () => {
    const record = recordOn('n1');
    expect(goesWithDomain(record, 'n1')).toBe(true);
    expect(goesWithDomain(record, 'n2')).toBe(false);
    expect(goesWithDomain(migrating(record, toN2), 'n1')).toBe(false);
    expect(goesWithDomain(claimed(record, 'n2', now), 'n2')).toBe(false);
  });
});

test('what is gone is kept only for the old lives of it, and is never started again', () => {
  const record = gone(arrived(claimed(recordOn('n1'), 'n2', now)));
  expect(record).toMatchObject({ running: false, leftOn: ['n1'] });
  expect(isGone(record)).toBe(true);
  expect(concerned([record], 'n2')).toEqual([]);
});

describe('a migration', () => {
  test('is not disturbed by what the source sees meanwhile', () => {
    const record = migrating(recordOn('n1'), toN2);
    expect(noted(record, seen({ presence: 'defined', liveXml: null }), 'n1')).toBeNull();
  });

  test('moves the record when the guest runs at the destination, and the mark stays', () => {
    const record = noted(migrating(recordOn('n1'), toN2), seen(), 'n2');
    expect(record).toMatchObject({ node: 'n2', migration: toN2 });
    expect(moved(migrating(recordOn('n1'), toN2))).toMatchObject({ node: 'n2', migration: toN2 });
    expect(settled(migrating(recordOn('n1'), toN2)).migration).toBeNull();
  });
});

describe('an evacuation', () => {
  test('gives the guest to the one who claims it, and remembers where its old life is', () => {
    const record = claimed(recordOn('n1'), 'n2', now);
    expect(record).toMatchObject({
      node: 'n2',
      running: true,
      evacuation: { from: 'n1', failed: null },
      leftOn: ['n1'],
    });
    expect(isLeftover(record, 'n1')).toBe(true);
    expect(isLeftover(record, 'n2')).toBe(false);
  });

  test('an old guest never takes the record back, not even one that runs', () => {
    expect(noted(claimed(recordOn('n1'), 'n2', now), seen(), 'n1')).toBeNull();
    expect(noted(arrived(claimed(recordOn('n1'), 'n2', now)), seen(), 'n1')).toBeNull();
  });

  test('ends when the guest runs, also when its last step was never recorded', () => {
    const record = claimed(recordOn('n1'), 'n2', now);
    expect(noted(record, seen({ presence: 'defined', liveXml: null }), 'n2')).toBeNull();
    expect(noted(record, seen(), 'n2')).toMatchObject({ evacuation: null, leftOn: ['n1'] });
  });

  test('goes on elsewhere when the one who claimed it dies or fails', () => {
    const died = claimed(claimed(recordOn('n1'), 'n2', now), 'n3', now);
    expect(died).toMatchObject({ node: 'n3', leftOn: ['n1', 'n2'] });
    expect(died.evacuation?.from).toBe('n1');
    const failed = failedToArrive(claimed(recordOn('n1'), 'n2', now), 'no memory');
    expect(failed).toMatchObject({ node: 'n2', evacuation: { failed: 'no memory' } });
  });

  test('whoever had a part in a migration that died gives it up', () => {
    const record = claimed(migrating(recordOn('n1'), toN2), 'n3', now);
    expect(record).toMatchObject({ node: 'n3', migration: null, leftOn: ['n1', 'n2'] });
  });

  test('a node that takes its own old guest in again is not told to remove it', () => {
    const record = claimed(arrived(claimed(recordOn('n1'), 'n2', now)), 'n1', now);
    expect(isLeftover(record, 'n1')).toBe(false);
    expect(isLeftover(record, 'n2')).toBe(true);
    expect(cleared(record, 'n2').leftOn).toEqual([]);
  });
});
