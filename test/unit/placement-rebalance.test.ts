/** Copies move from full pools to empty ones and out of shared racks, and that comes to an end. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextMove, nodesAtWork } from '../../src/cluster/rebalance.ts';
import { repairStep } from '../../src/cluster/repair.ts';
import { sharedRacks } from '../../src/volume/domains.ts';
import { used } from '../../src/volume/placement.ts';
import { builtInPolicies, copiesWanted, policyNamed } from '../../src/volume/policy.ts';
import type { NodeView, Volume } from '../../src/volume/types.ts';
import { attachment, node, open, record, sealed } from './volume/fixtures.ts';

const view = (nodes: NodeView[], resting: string[] = []) => ({
  nodes,
  threshold: 0.15,
  rests: (name: string) => resting.includes(name),
});
const big = { bytes: 50 };
const full = node('n1', { free: 200 });
const half = node('n2', { free: 500 });
const empty = node('n3', { free: 1000 });
const idle = record({ chain: [sealed(1, ['n1', 'n2'], big)] });

describe('nextMove', () => {
  test('is from the fullest to the emptiest, of the largest layer', () => {
    const chain = [sealed(1, ['n1', 'n2'], { bytes: 10 }), sealed(2, ['n1', 'n2'], big)];
    const move = nextMove([record({ chain })], view([full, half, empty]));
    expect(move).toMatchObject({ volume: 'v', from: 'n1', to: 'n3', bytes: 50 });
    expect(move?.step.text).toBe('layer 2 is moved from n1 to n3: n1 is much fuller');
    const moved = move?.step.apply(record({ chain }));
    expect(moved?.chain[1]?.replicas.map((r) => `${r.node} ${r.state}`)).toEqual([
      'n1 clean',
      'n2 clean',
      'n3 copying',
    ]);
  });

  test('there is none below the threshold, or when the gap would be turned round', () => {
    const at = (free: number) => [full, half, node('n3', { free })];
    expect(nextMove([idle], view(at(349)))).toBeNull();
    expect(nextMove([idle], view(at(351)))).not.toBeNull();
    const huge = record({ chain: [sealed(1, ['n1', 'n2'], { bytes: 400 })] });
    expect(nextMove([huge], view([full, half, empty]))).toBeNull();
  });

  test('never to a node that is full, down, drained or at work, nor from one at work', () => {
    expect(nextMove([idle], view([full, half, empty], ['n3']))).toBeNull();
    expect(nextMove([idle], view([full, half, empty], ['n1']))).toBeNull();
    const last = [{ up: false }, { draining: true, free: 1000 }, { free: 140 }];
    for (const options of last) {
      expect(nextMove([idle], view([full, half, node('n3', options)]))).toBeNull();
    }
  });

  test('never a copy where the volume is written, nor one that is not proven', () => {
    const attachments = [attachment('n1')];
    const tail = open(2, ['n1', 'n2']);
    expect(
      nextMove([record({ ...idle, tail, attachments })], view([full, half, empty])),
    ).toBeNull();
    for (const copies of [['n1', 'n2?'], ['n1', 'n2', 'n4+'], ['n1']]) {
      const volume = record({ chain: [sealed(1, copies, big)] });
      expect(nextMove([volume], view([full, half, empty, node('n4')]))).toBeNull();
    }
  });

  test('never into the rack of another copy, and out of a shared one whatever is free', () => {
    const at = (name: string, rack: string, free: number) => node(name, { free, labels: { rack } });
    const apart = [at('n1', 'a', 200), at('n2', 'b', 500), at('n3', 'b', 1000)];
    // The emptiest node is in the rack of n2: that one's copy goes there.
    expect(nextMove([idle], view(apart))).toMatchObject({ from: 'n2', to: 'n3' });
    const together = [at('n1', 'a', 500), at('n2', 'a', 400), at('n3', 'b', 160)];
    expect(nextMove([idle], view(together))).toMatchObject({ from: 'n2', to: 'n3' });
  });
});

test('a copy that is being moved is not taken for one too many, unless it has become useless', () => {
  const moving = record({ chain: [sealed(1, ['n1', 'n2', 'n3+'], big)] });
  const step = (nodes: NodeView[], volume: Volume = moving) =>
    repairStep(volume, { nodes, givenUp: new Set() });
  expect(step([full, half, empty])).toBeNull();
  const there = record({ chain: [sealed(1, ['n1', 'n2', 'n3'], big)] });
  expect(step([full, half, empty], there)?.text).toMatch(/on n1 is not needed/);
  expect(step([full, half, node('n3', { free: 220 })])?.text).toMatch(/on n3 is not needed/);
});

test('nodes on which copies come or go are left alone', () => {
  const garbage = [{ layer: 'x', epoch: 1, afterEpoch: 1, holders: [{ node: 'n4', pool: 'p' }] }];
  expect(nodesAtWork(record({ chain: [sealed(1, ['n1', 'n3+'])], garbage }))).toEqual(['n3', 'n4']);
});

describe('any cluster comes to rest', () => {
  const names = ['n0', 'n1', 'n2', 'n3', 'n4', 'n5'];
  const aNode = fc.record({
    total: fc.integer({ min: 500, max: 5_000 }),
    other: fc.double({ min: 0, max: 0.95, noNaN: true }),
    rack: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
  });
  const aLayer = fc.record({
    bytes: fc.integer({ min: 0, max: 600 }),
    first: fc.nat(5),
    second: fc.nat(5),
    third: fc.nat(5),
  });
  const aVolume = fc.record({
    policy: fc.constantFrom('Gold', 'Silver', 'Bronze'),
    layers: fc.array(aLayer, { minLength: 1, maxLength: 4 }),
    writer: fc.option(fc.nat(5), { nil: undefined }),
  });

  type World = { volumes: Volume[]; nodes: () => NodeView[] };

  function worldOf(
    given: { total: number; other: number; rack: string | undefined }[],
    wanted: {
      policy: string;
      layers: { bytes: number; first: number; second: number; third: number }[];
      writer: number | undefined;
    }[],
  ): World {
    const volumes = wanted.map(({ policy, layers, writer }, v) => {
      const { reflections } = policyNamed(policy);
      const chain = layers.map(({ bytes, ...places }, i) => {
        const picked = [...new Set(Object.values(places).concat([0, 1, 2]))];
        const copies = picked.slice(0, reflections + 1).map((p) => names[p] ?? '');
        return sealed(i + 1, copies, { bytes });
      });
      const host = writer === undefined ? undefined : names[writer];
      const tail = host === undefined ? {} : { tail: open(9, [host]) };
      return record({ id: `v${v}`, policy: policyNamed(policy), chain, ...tail });
    });
    const world = { volumes, nodes: () => nodes() };
    const nodes = () =>
      given.map(({ total, other, rack }, i) => {
        const name = names[i] ?? '';
        const held = world.volumes.flatMap((v) =>
          v.chain.filter((l) => l.replicas.some((r) => r.node === name)).map((l) => l.bytes ?? 0),
        );
        const free = Math.max(0, total * (1 - other) - held.reduce((a, b) => a + b, 0));
        return node(name, { total, free, ...(rack === undefined ? {} : { labels: { rack } }) });
      });
    return world;
  }

  /** Repairs until there is nothing to repair; copies are there at once. */
  function repaired(world: World): void {
    for (let steps = 0; steps < 200; steps += 1) {
      const nodes = world.nodes();
      const at = world.volumes.findIndex((v) => repairStep(v, { nodes, givenUp: new Set() }));
      const volume = world.volumes[at];
      if (volume === undefined) return;
      const step = repairStep(volume, { nodes, givenUp: new Set() });
      world.volumes[at] = filled(step?.apply(volume) ?? volume);
    }
    throw new Error('repair does not end');
  }

  function filled(volume: Volume): Volume {
    const chain = volume.chain.map((l) => ({
      ...l,
      replicas: l.replicas.map((r) => ({ ...r, state: 'clean' as const })),
    }));
    return { ...volume, chain, garbage: [] };
  }

  const shared = (world: World) => {
    const nodes = world.nodes();
    return world.volumes
      .flatMap((v) => v.chain)
      .map((l) => sharedRacks(nodes.filter((n) => l.replicas.some((r) => r.node === n.name))))
      .reduce((a, b) => a + b, 0);
  };

  test('every move does good, none is taken back, and there is a last one', () => {
    let moves = 0;
    fc.assert(
      fc.property(
        fc.array(aNode, { minLength: 3, maxLength: 6 }),
        fc.array(aVolume, { minLength: 1, maxLength: 5 }),
        (given, wanted) => {
          const world = worldOf(given, wanted);
          const inUse = (v: Volume) =>
            v.chain.every((l) => l.replicas.every((r) => r.node < `n${given.length}`));
          world.volumes = world.volumes.filter(inUse);
          repaired(world);
          for (let count = 0; ; count += 1) {
            expect(count).toBeLessThan(200);
            const nodes = world.nodes();
            const move = nextMove(world.volumes, view(nodes));
            if (move === null) break;
            moves += 1;
            const before = shared(world);
            const at = world.volumes.findIndex((v) => v.id === move.volume);
            const volume = world.volumes[at];
            if (volume === undefined) throw new Error(move.volume);
            const usedBefore = (name: string) => used(nodes.find((n) => n.name === name) ?? full);
            const [from, to] = [usedBefore(move.from), usedBefore(move.to)];
            world.volumes[at] = filled(move.step.apply(volume));
            repaired(world);
            expect(shared(world)).toBeLessThanOrEqual(before);
            if (shared(world) === before) expect(from - to).toBeGreaterThanOrEqual(0.15);
            for (const v of world.volumes) {
              for (const l of v.chain) {
                const policy = builtInPolicies.find((p) => p.name === v.policy.name) ?? v.policy;
                expect(l.replicas.length).toBeGreaterThanOrEqual(
                  Math.min(copiesWanted(policy), given.length),
                );
              }
            }
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(moves).toBeGreaterThan(100);
  });
});
