/** What is left on a node that is to be emptied, what leaves it, and when it cannot. */
import { describe, expect, test } from 'vitest';
import { drainObstacles, drainReport, roomBeside } from '../../src/cluster/drain.ts';
import { repairStep } from '../../src/cluster/repair.ts';
import { repairRests } from '../../src/cluster/repair-policy.ts';
import { type LocalView, nextDuty } from '../../src/node/duties.ts';
import { limitsOf } from '../../src/volume/limits.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { NodeView, Volume } from '../../src/volume/types.ts';
import { attachment, node, open, record, sealed, unsealed } from './volume/fixtures.ts';

const four = (changes: Record<string, Parameters<typeof node>[1]> = {}) =>
  ['n1', 'n2', 'n3', 'n4'].map((name) => node(name, changes[name]));
const draining = { draining: true };
const named = (nodes: NodeView[], name: string) => {
  const found = nodes.find((n) => n.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};
const report = (volumes: Volume[], nodes: NodeView[], name = 'n2') =>
  drainReport(named(nodes, name), volumes, nodes);
const repair = (volume: Volume, nodes: NodeView[]) =>
  repairStep(volume, { nodes, givenUp: new Set() });

/** Takes steps until there are none, every new copy being filled at once. */
function settled(volume: Volume, nodes: NodeView[]): { volume: Volume; texts: string[] } {
  const texts: string[] = [];
  let now = volume;
  for (let step = repair(now, nodes); step !== null; step = repair(now, nodes)) {
    const next = step.apply(now);
    for (const layer of next.chain) {
      const clean = layer.replicas.filter((r) => r.state === 'clean').length;
      expect(clean).toBeGreaterThanOrEqual(2);
    }
    texts.push(step.text);
    const chain = next.chain.map((layer) => ({
      ...layer,
      replicas: layer.replicas.map((r) => ({ ...r, state: 'clean' as const })),
    }));
    now = { ...next, chain };
    expect(texts.length).toBeLessThan(20);
  }
  return { volume: now, texts };
}
const holders = (volume: Volume) => volume.chain.map((l) => l.replicas.map((r) => r.node).sort());

describe('repair', () => {
  test('makes copies of what a draining node holds elsewhere first, and drops its own then', () => {
    const nodes = four({ n2: draining });
    const chain = [sealed(1, ['n1', 'n2']), sealed(2, ['n2', 'n3'])];
    const { volume, texts } = settled(record({ chain }), nodes);
    expect(holders(volume).flat()).not.toContain('n2');
    expect(holders(volume).map((h) => h.length)).toEqual([2, 2]);
    expect(texts.map((t) => /missing|not needed/.exec(t)?.[0])).toEqual([
      'missing',
      'not needed',
      'missing',
      'not needed',
    ]);
  });

  test('keeps the copies of a draining writer, and makes as many elsewhere as are wanted', () => {
    const nodes = four({ n2: draining });
    const tail = open(2, ['n2', 'n1']);
    const chain = [sealed(1, ['n1', 'n2'])];
    const { volume } = settled(record({ chain, tail, attachments: [attachment('n2')] }), nodes);
    expect(holders(volume)[0]).toHaveLength(3);
    expect(holders(volume)[0]).toContain('n2');
  });

  test('drops nothing for a drain when the copies have nowhere else to go', () => {
    const nodes = [node('n1'), node('n2', draining), node('n3', { free: 100 })];
    const chain = [sealed(1, ['n1', 'n2'])];
    expect(repair(record({ chain }), nodes)).toBeNull();
  });

  test('gives a new copy to another rack', () => {
    const at = (rack: string, free = 500) => ({ free, labels: { rack } });
    const nodes = four({ n1: at('a'), n2: at('b'), n3: at('a', 900), n4: at('c', 200) });
    const chain = [sealed(1, ['n1'])];
    expect(repair(record({ chain }), nodes)?.text).toMatch(/copied to n2/);
    const gold = { policy: policyNamed('Gold') };
    const two = [sealed(1, ['n1', 'n2'])];
    expect(repair(record({ ...gold, chain: two }), nodes)?.text).toMatch(/copied to n4/);
  });

  test('of too many copies drops one that shares a rack', () => {
    const at = (rack: string) => ({ labels: { rack } });
    const nodes = four({ n1: at('a'), n2: at('b'), n3: at('a') });
    const volume = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])] });
    expect(repair(volume, nodes)?.text).toMatch(/on n[13] is not needed/);
    const tail = open(2, ['n1', 'n3']);
    expect(repair({ ...volume, tail }, nodes)?.text).toMatch(/on n3 is not needed/);
  });

  test('rests when more than a third of the nodes are down', () => {
    const cluster = (total: number, down: number) =>
      Array.from({ length: total }, (_, i) => node(`n${i}`, { up: i >= down }));
    for (const [total, down] of [
      [3, 1],
      [4, 1],
      [6, 2],
      [9, 3],
    ] as const) {
      expect(repairRests(cluster(total, down)), `${down} of ${total}`).toBe(false);
    }
    for (const [total, down] of [
      [2, 1],
      [3, 2],
      [4, 2],
      [5, 2],
      [9, 4],
    ] as const) {
      expect(repairRests(cluster(total, down)), `${down} of ${total}`).toBe(true);
    }
  });
});

describe('the writer begins a new epoch', () => {
  const layer = unsealed(1, ['n1', 'n2']);
  const head = {
    ...{ volume: 'v', layer: layer.id, epoch: 1, sizeBytes: layer.sizeBytes, pid: 7, sealed: [] },
    ...{ sessions: ['session-n1'], peers: ['n2'], limits: limitsOf(record()) },
  };
  const local: LocalView = {
    ...{ head, openLayerBurnt: false, proxy: null, listening: null, gateways: [] },
    ...{ failed: new Set(), avoid: new Set(), settled: true, leasesKnown: true },
  };
  const volume = record({ attachments: [attachment('n1')], tail: open(1, ['n1', 'n2']) });
  const self = { node: 'n1', pool: 'pool-n1', boot: 'boot-n1' };
  const duty = (nodes: NodeView[], changes: Partial<LocalView> = {}) =>
    nextDuty({ volume, self, nodes, local: { ...local, ...changes } });

  test('when a member is drained and another node can come in, and not before', () => {
    const roll = { kind: 'roll', reason: 'drain' };
    expect(duty(four({ n2: draining }))).toEqual(roll);
    expect(duty(four())).toBeNull();
    expect(duty(four({ n1: draining }))).toBeNull();
    expect(duty([node('n1'), node('n2', draining)])).toBeNull();
    expect(duty(four({ n2: draining }), { settled: false })).toBeNull();
    expect(duty(four({ n2: draining }), { avoid: new Set(['n3', 'n4']) })).toBeNull();
  });

  test('when its members share a rack and another one has room', () => {
    const at = (rack: string, more = {}) => ({ labels: { rack }, ...more });
    const racks = (n3: object) => four({ n1: at('a'), n2: at('a'), n3, n4: at('a') });
    expect(duty(racks(at('b')))).toEqual({ kind: 'roll', reason: 'spread' });
    expect(duty(racks(at('a')))).toBeNull();
    expect(duty(racks(at('b', { free: 100 })))).toBeNull();
    expect(duty(racks(at('b', draining)))).toBeNull();
  });
});

describe('drainReport', () => {
  const idle = record({ chain: [sealed(1, ['n1', 'n2']), sealed(2, ['n2', 'n3'])] });

  test('counts what is there', () => {
    const garbage = [
      { layer: 'x', epoch: 1, afterEpoch: 1, holders: [{ node: 'n2', pool: 'pool-n2' }] },
    ];
    const tail = open(3, ['n1', 'n2']);
    const nodes = four({ n2: draining });
    const volume = record({ ...idle, tail, garbage, attachments: [attachment('n1')] });
    expect(report([volume], nodes)).toMatchObject({
      state: 'draining',
      by: 'root',
      copies: 2,
      bytes: 3000,
      writing: 1,
      files: 1,
      attached: [],
      obstacles: [],
    });
    expect(report([volume], four())).toMatchObject({ state: 'none', copies: 2, since: null });
  });

  test('a node is drained when no record names its pool, whatever another node of its name had', () => {
    const nodes = four({ n2: draining });
    expect(report([], nodes).state).toBe('drained');
    expect(report([record({ chain: [sealed(1, ['n1', 'n3'])] })], nodes).state).toBe('drained');
    const garbage = [
      { layer: 'x', epoch: 1, afterEpoch: 1, holders: [{ node: 'n2', pool: 'an old pool' }] },
    ];
    expect(report([record({ garbage })], nodes).state).toBe('drained');
  });

  test('it waits when only guests hold it, as soon as there are enough copies elsewhere', () => {
    const nodes = four({ n2: draining });
    const attachments = [attachment('n2')];
    const tail = open(3, ['n2', 'n1']);
    const before = record({ chain: [sealed(1, ['n2', 'n1'])], tail, attachments });
    expect(report([before], nodes)).toMatchObject({ state: 'draining', attached: ['disk'] });
    const after = record({ ...before, chain: [sealed(1, ['n2', 'n1', 'n3'])] });
    expect(report([after], nodes)).toMatchObject({ state: 'waiting', attached: ['disk'] });
    expect(report([after, { ...idle, id: 'other' }], nodes).state).toBe('draining');
  });

  test('what has nowhere to go is told, and keeps the node waiting', () => {
    const nodes = four({ n2: draining, n3: { up: false }, n4: { free: 100 } });
    const { state, obstacles } = report([idle], nodes);
    expect(state).toBe('waiting');
    expect(obstacles).toEqual([
      { volume: 'disk', why: 'Silver asks for 2 copies, and 1 other node can hold one' },
    ]);
  });
});

describe('drainObstacles', () => {
  const obstacles = (volumes: Volume[], nodes: NodeView[], name = 'n2') =>
    drainObstacles(named(nodes, name), volumes, nodes);

  test('there are none with room for all copies, and none for what is not there', () => {
    const volume = record({ chain: [sealed(1, ['n1', 'n2'])] });
    expect(obstacles([volume], four())).toEqual([]);
    const full = four({ n3: { free: 10 }, n4: { free: 10 } });
    expect(obstacles([volume], full, 'n4')).toEqual([]);
    expect(obstacles([volume], full)).toHaveLength(1);
    // A full pool keeps what it has.
    const held = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])] });
    expect(obstacles([held], full)).toEqual([]);
  });

  test('nodes that are drained or down take nothing', () => {
    const gold = { policy: policyNamed('Gold') };
    const volume = record({ ...gold, tail: open(1, ['n1', 'n2', 'n3']) });
    expect(obstacles([volume], four())).toEqual([]);
    expect(obstacles([volume], four({ n4: draining }))).toHaveLength(1);
    expect(obstacles([volume], four({ n4: { up: false } }))).toHaveLength(1);
  });

  test('a node that is down and alone has what can be read nowhere', () => {
    const volume = record({ policy: policyNamed('Bronze'), chain: [sealed(7, ['n2'])] });
    expect(obstacles([volume], four())).toEqual([]);
    expect(obstacles([volume], four({ n2: { up: false } }))[0]?.why).toMatch(/layer of epoch 7/);
  });

  test('room is what pools may take until they are too full, without those that take nothing', () => {
    const nodes = four({ n1: { free: 250 }, n3: { free: 100 }, n4: { up: false } });
    expect(roomBeside(named(nodes, 'n2'), nodes)).toBeCloseTo(100);
  });
});
