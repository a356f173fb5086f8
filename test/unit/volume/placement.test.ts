import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nearness } from '../../../src/volume/domains.ts';
import { hasRoom, isFull, placeMembers } from '../../../src/volume/placement.ts';
import { policyNamed } from '../../../src/volume/policy.ts';
import type { NodeView } from '../../../src/volume/types.ts';
import { node, open, poolOf, record, refuses, sealed } from './fixtures.ts';

const none = new Set<string>();
const gold = { policy: policyNamed('Gold') };
const names = (members: { node: string }[]) => members.map((m) => m.node);
const four = ['n1', 'n2', 'n3', 'n4'].map((n) => node(n));

test('the writer comes first, whatever else speaks against it', () => {
  const nodes = [node('n1', { free: 900 }), node('n2', { free: 200 }), node('n3', { free: 900 })];
  const members = placeMembers(record(gold), 'n2', nodes, none);
  expect(members[0]).toEqual({ node: 'n2', pool: poolOf('n2'), boot: 'boot-n2' });
  expect(members).toHaveLength(3);
});

test('as many members as the policy asks for, and fewer when there are no more nodes', () => {
  for (const [policy, count] of [
    ['Gold', 3],
    ['Silver', 2],
    ['Bronze', 1],
  ] as const) {
    const volume = record({ policy: policyNamed(policy) });
    expect(placeMembers(volume, 'n1', four, none)).toHaveLength(count);
  }
  expect(names(placeMembers(record(gold), 'n1', [node('n1')], none))).toEqual(['n1']);
});

test('the write set as it is comes before data, data before free space, then the name', () => {
  const chain = [sealed(1, ['n1', 'n3']), sealed(2, ['n1', 'n3', 'n4?'])];
  const nodes = [...four, node('n5', { free: 900 })];
  const idle = record({ ...gold, chain });
  expect(names(placeMembers(idle, 'n1', nodes, none))).toEqual(['n1', 'n3', 'n5']);
  const written = record({ ...gold, chain, tail: open(3, ['n1', 'n4']) });
  expect(names(placeMembers(written, 'n1', nodes, none))).toEqual(['n1', 'n4', 'n3']);
  expect(names(placeMembers(record(gold), 'n2', four, none))).toEqual(['n2', 'n1', 'n3']);
});

test('a node that is down, full or just failed is not chosen', () => {
  const nodes = [node('n1'), node('n2', { up: false }), node('n3', { free: 100 }), node('n4')];
  expect(names(placeMembers(record(gold), 'n1', nodes, none))).toEqual(['n1', 'n4']);
  expect(names(placeMembers(record(gold), 'n1', nodes, new Set(['n4'])))).toEqual(['n1']);
});

test('a writer that is down, unknown or full is refused', () => {
  const down = [node('n1', { up: false }), node('n2')];
  refuses(record(), (v) => placeMembers(v, 'n1', down, none), /n1 is not up/, 'node-down');
  refuses(record(), (v) => placeMembers(v, 'n9', four, none), /n9 is not up/, 'node-down');
  const full = [node('n1', { free: 100 }), node('n2')];
  refuses(record(), (v) => placeMembers(v, 'n1', full, none), /is 90 % full/, 'no-space');
});

test('a pool takes new layers below 85 %', () => {
  expect(hasRoom(node('n1', { free: 151 }))).toBe(true);
  expect(hasRoom(node('n1', { free: 149 }))).toBe(false);
  expect(hasRoom(node('n1', { free: 0, total: 0 }))).toBe(false);
  expect(hasRoom(node('n1', { up: false }))).toBe(false);
});

test('a member stays until its pool is 92 % full, a writer that goes on for good', () => {
  const written = record({ ...gold, tail: open(3, ['n1', 'n2', 'n3']) });
  const filling = [node('n1', { free: 10 }), node('n2', { free: 100 }), node('n3', { free: 70 })];
  expect(names(placeMembers(written, 'n1', filling, none))).toEqual(['n1', 'n2']);
  expect(names(placeMembers(written, 'n1', [...filling, node('n4')], none))).toEqual([
    'n1',
    'n2',
    'n4',
  ]);
});

test('a host that holds the volume may open it until its pool is 92 % full', () => {
  const chain = [sealed(1, ['n1', 'n2'])];
  const at = (free: number) => () =>
    placeMembers(record({ chain }), 'n1', [node('n1', { free }), node('n2')], none);
  expect(at(100)).not.toThrow();
  expect(at(70)).toThrow(/93 % full/);
});

describe('failure domains', () => {
  const rack = (name: string, where: string, options = {}) => {
    const [site = '', inside = ''] = where.split('/');
    return node(name, { ...options, labels: { site, rack: inside } });
  };

  test('nodes share a rack only within their site, and nothing without labels', () => {
    const a = { site: 'x', rack: '1' };
    expect(nearness(a, { site: 'x', rack: '1' })).toBe(2);
    expect(nearness(a, { site: 'x', rack: '2' })).toBe(1);
    expect(nearness(a, { site: 'y', rack: '1' })).toBe(0);
    expect(nearness(a, { rack: '1' })).toBe(0);
    expect(nearness({ rack: '1' }, { rack: '1' })).toBe(2);
    expect(nearness({ rack: '1' }, { rack: '2' })).toBe(0);
    expect(nearness({ site: 'x' }, { site: 'x' })).toBe(2);
    expect(nearness(a, { site: 'x' })).toBe(1);
    for (const none of [undefined, {}]) expect(nearness(none, none)).toBe(0);
  });

  test('another rack comes before the write set, data and space, another site before another rack', () => {
    const nodes = [rack('n1', 'x/1'), rack('n2', 'x/1', { free: 900 }), rack('n3', 'x/2')];
    const written = record({ tail: open(3, ['n1', 'n2']) });
    expect(names(placeMembers(written, 'n1', nodes, none))).toEqual(['n1', 'n3']);
    const more = [...nodes, rack('n4', 'y/1', { free: 200 })];
    expect(names(placeMembers(record(), 'n1', more, none))).toEqual(['n1', 'n4']);
    expect(names(placeMembers(record(gold), 'n1', more, none))).toEqual(['n1', 'n4', 'n3']);
    // Where there are not enough racks, a shared one is better than none.
    expect(names(placeMembers(record(gold), 'n1', nodes, none))).toEqual(['n1', 'n3', 'n2']);
  });

  test('with as many racks with room as there are copies, no two copies share one', () => {
    const aNode = fc.record({
      site: fc.constantFrom('x', 'y'),
      rack: fc.constantFrom('1', '2', '3'),
      free: fc.integer({ min: 0, max: 1000 }),
      up: fc.boolean(),
      draining: fc.boolean(),
    });
    let checked = 0;
    fc.assert(
      fc.property(fc.array(aNode, { minLength: 1, maxLength: 9 }), fc.nat(), (given, pick) => {
        const nodes = given.map(({ site, rack, ...rest }, i) =>
          node(`n${i}`, { ...rest, labels: { site, rack } }),
        );
        const writer = nodes[pick % nodes.length];
        if (writer?.lease == null || isFull(writer)) return;
        const members = placeMembers(record(gold), writer.name, nodes, none);
        const racks = (of: NodeView[]) => new Set(of.map((n) => JSON.stringify(n.labels))).size;
        const possible = racks([writer, ...nodes.filter(hasRoom)]);
        const chosen = nodes.filter((n) => members.some((m) => m.node === n.name));
        expect(racks(chosen)).toBe(Math.min(3, possible));
        checked += 1;
      }),
      { numRuns: 500 },
    );
    expect(checked).toBeGreaterThan(100);
  });
});

describe('a node that is being drained', () => {
  const draining = node('n2', { draining: true, free: 900 });

  test('takes no new layers, and is no place for a new volume', () => {
    expect(hasRoom(draining)).toBe(false);
    const nodes = [node('n1'), draining, node('n3')];
    expect(names(placeMembers(record(gold), 'n1', nodes, none))).toEqual(['n1', 'n3']);
  });

  test('leaves a write set when another node can come in, and stays for want of one', () => {
    const written = record({ tail: open(3, ['n1', 'n2']) });
    const alone = [node('n1'), draining];
    expect(names(placeMembers(written, 'n1', alone, none))).toEqual(['n1', 'n2']);
    expect(names(placeMembers(written, 'n1', [...alone, node('n3')], none))).toEqual(['n1', 'n3']);
    const full = node('n3', { free: 100 });
    expect(names(placeMembers(written, 'n1', [...alone, full], none))).toEqual(['n1', 'n2']);
  });

  test('may write what it writes, and open what is attached there', () => {
    const nodes = [node('n1'), draining, node('n3')];
    const written = record({ tail: open(3, ['n2', 'n1']) });
    expect(names(placeMembers(written, 'n2', nodes, none))).toEqual(['n2', 'n1']);
    expect(names(placeMembers(record(), 'n2', nodes, none))).toEqual(['n2', 'n1']);
  });
});
