/** The plan of a recovery: which record is believed, what is carried on, and what is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planRecovery } from '../../src/cluster/recover.ts';
import { compareCandidates, nextClusterId, recoveriesOf } from '../../src/cluster/recover-order.ts';
import type { Candidate, NodeKnowledge, Situation } from '../../src/cluster/recover-types.ts';
import { parseSidecar } from '../../src/node/sidecar.ts';
import { assertRecord } from '../../src/volume/invariants.ts';
import { knownLayers } from '../../src/volume/queries.ts';
import type { Tail, Volume } from '../../src/volume/types.ts';
import { attachment, replica, sealed, unsealed, volumeRecord } from './api-fake-service.ts';

const runs = Number(process.env.RUNS ?? 600);
const cluster = '00000000-1111-4222-8333-444444444444';

function node(name: string, more: Partial<NodeKnowledge> = {}): NodeKnowledge {
  return {
    name,
    pool: `pool-${name}`,
    boot: `boot-${name}`,
    layers: new Set(Array.from({ length: 20 }, (_, i) => `layer-${i}`)),
    fences: new Map(),
    burnt: new Set(),
    ...more,
  };
}

function kept(
  name: string | null,
  volume: Volume,
  revision = '50',
  clusterId = cluster,
): Candidate {
  return { node: name, clusterId, revision, volume };
}

function situation(candidates: Candidate[], more: Partial<Situation> = {}): Situation {
  return {
    store: { clusterId: null, current: false },
    candidates,
    nodes: ['n1', 'n2', 'n3'].map((n) => node(n)),
    silent: [],
    findings: [],
    records: [],
    retired: [],
    ...more,
  };
}

const away = (name: string) => ({ node: name, pool: `pool-${name}`, why: 'it is off' });

function withTail(epoch: number, tail: Tail, more: Partial<Volume> = {}): Volume {
  return volumeRecord({
    epoch,
    tail,
    chain: [sealed(1, [replica('n1', 'clean'), replica('n2', 'clean')])],
    attachments: [attachment('n1')],
    ...more,
  });
}

const openAt = (epoch: number, members: string[]): Tail => ({
  phase: 'open',
  reason: 'attach',
  layer: unsealed(epoch, members),
});
const openingAt = (epoch: number, next: string[], closing: string[] | null): Tail => ({
  phase: 'opening',
  reason: 'evict',
  next: unsealed(epoch, next),
  closing: closing === null ? null : unsealed(epoch - 1, closing),
});

/** The plan of the only volume. */
function planned(candidates: Candidate[], more: Partial<Situation> = {}) {
  const plan = planRecovery(situation(candidates, more));
  expect(plan.volumes).toHaveLength(1);
  const [volume] = plan.volumes;
  if (volume === undefined) throw new Error('no volume');
  if (volume.record !== null) assertRecord(volume.record);
  return { ...volume, refused: plan.refused, allLosses: plan.losses };
}

describe('the order of records', () => {
  const at = (epoch: number, revision: string, clusterId = cluster) =>
    kept('n1', withTail(epoch, { phase: 'idle' }), revision, clusterId);

  it('is that of recoveries, then epochs, then revisions', () => {
    const once = nextClusterId([cluster], '0123abcd');
    const twice = nextClusterId([cluster, once], '89abcdef');
    expect([cluster, once, twice].map(recoveriesOf)).toEqual([0, 1, 2]);
    const rising = [
      at(3, '9'),
      at(3, '10'),
      at(5, '4'),
      at(2, '1', once),
      at(2, '3', once),
      at(1, '1', twice),
    ];
    for (const [i, older] of rising.entries()) {
      for (const newer of rising.slice(i + 1)) {
        expect(compareCandidates(newer, older)).toBeLessThan(0);
        expect(compareCandidates(older, newer)).toBeGreaterThan(0);
      }
    }
  });
});

describe('a volume whose newest record is known', () => {
  it('is restored exactly: the writer and every member answer', () => {
    const newest = withTail(5, openAt(5, ['n1', 'n3']));
    const older = withTail(4, openAt(4, ['n1', 'n2']));
    const plan = planned([kept('n2', older, '40'), kept('n3', newest), kept('n1', newest)]);
    expect(plan).toMatchObject({ outcome: 'exact', losses: [], missing: [], fence: null });
    expect(plan.record).toEqual(newest);
  });

  it('wins over an older record in a store that was set back', () => {
    const newest = withTail(5, openAt(5, ['n1', 'n3']));
    const older = withTail(4, openAt(4, ['n1', 'n2']));
    const plan = planned([kept(null, older, '40'), kept('n3', newest)], {
      store: { clusterId: cluster, current: false },
    });
    expect(plan).toMatchObject({ outcome: 'exact', unchanged: false, from: 'n3' });
    expect(plan.record).toEqual(newest);
  });

  it('is left as it is when the store has it: a recovery can be repeated', () => {
    const newest = withTail(5, openAt(5, ['n1', 'n3']));
    const once = nextClusterId([cluster], '0123abcd');
    const plan = planned([kept('n3', newest), kept(null, newest, '3', once)], {
      store: { clusterId: once, current: false },
    });
    expect(plan).toMatchObject({ unchanged: true, outcome: 'exact' });
  });

  it('is carried on as a take-over when a member refuses its epoch', () => {
    const record = withTail(5, openAt(5, ['n1', 'n2']));
    const nodes = [node('n1'), node('n2', { fences: new Map([[record.id, 7]]) })];
    const plan = planned([kept('n1', record)], { nodes });
    expect(plan.outcome).toBe('in-doubt');
    expect(plan.record?.tail).toMatchObject({ phase: 'fencing', unsealed: { epoch: 5 } });
    expect(plan.record?.epoch).toBeGreaterThanOrEqual(7);
  });
});

describe('an epoch that was being opened', () => {
  const record = withTail(6, openingAt(6, ['n1', 'n3'], ['n1', 'n2']));

  it('is left to its writer when no head has served it', () => {
    expect(planned([kept('n3', record)]).record).toEqual(record);
  });

  it('is open when a head of its writer serves it', () => {
    const nodes = [node('n1', { burnt: new Set(['layer-6']) }), node('n2'), node('n3')];
    const plan = planned([kept('n3', record)], { nodes });
    expect(plan.record?.tail).toMatchObject({ phase: 'open', layer: { id: 'layer-6' } });
    expect(plan.record?.chain.at(-1)).toMatchObject({
      id: 'layer-5',
      authority: 'n1',
      replicas: [
        { node: 'n1', state: 'clean' },
        { node: 'n2', state: 'unverified' },
      ],
    });
    expect(plan).toMatchObject({ outcome: 'in-doubt', losses: [], fence: null });
  });

  it('is taken over when its writer has rebooted: it may have been served', () => {
    const nodes = [node('n1', { boot: 'another' }), node('n2'), node('n3')];
    const plan = planned([kept('n3', record)], { nodes });
    expect(plan.record?.tail).toMatchObject({ phase: 'fencing', unsealed: { id: 'layer-6' } });
    expect(plan.record?.chain.at(-1)).toMatchObject({ id: 'layer-5', authority: 'n2' });
    expect(plan).toMatchObject({ outcome: 'in-doubt', losses: [] });
  });

  it('needs the word of the operator when its writer is away, and a fence before it', () => {
    const nodes = [node('n2'), node('n3')];
    const plan = planned([kept('n3', record)], { nodes, silent: [away('n1')] });
    expect(plan).toMatchObject({ outcome: 'loss', missing: ['n1'] });
    expect(plan.fence).toEqual({ nodes: ['n2'], epoch: 6 });
    expect(plan.record?.tail).toMatchObject({ phase: 'fencing', unsealed: { id: 'layer-6' } });
    expect(plan.record?.chain.at(-1)).toMatchObject({ id: 'layer-5', authority: 'n2' });
  });
});

describe('a layer that was being opened to let the volume grow', () => {
  const [before, after] = [2 ** 30, 2 ** 31];
  const opening = openingAt(6, ['n1', 'n3'], ['n1', 'n2']);
  if (opening.phase === 'opening') opening.next.sizeBytes = after;
  const record = withTail(6, opening);
  const sizeWith = (writer: NodeKnowledge) =>
    planned([kept('n3', record)], { nodes: [writer, node('n2'), node('n3')] }).record?.sizeBytes;

  it('counts when it may have been served, and not before', () => {
    expect(record.sizeBytes).toBe(before);
    expect(sizeWith(node('n1'))).toBe(before);
    expect(sizeWith(node('n1', { burnt: new Set(['layer-6']) }))).toBe(after);
    expect(sizeWith(node('n1', { boot: 'another' }))).toBe(after);
  });
});

describe('a node that does not answer', () => {
  const without = (name: string) => ({
    nodes: ['n1', 'n2', 'n3'].filter((n) => n !== name).map((n) => node(n)),
    silent: [away(name)],
  });

  it.each([
    ['the writer', withTail(5, openAt(5, ['n1', 'n2'])), 'n1', true],
    ['a member', withTail(5, openAt(5, ['n1', 'n2'])), 'n2', true],
    ['a node without a part', withTail(5, openAt(5, ['n1', 'n2'])), 'n3', false],
    ['a holder of an idle volume', withTail(5, { phase: 'idle' }), 'n2', true],
    ['another node of an idle volume', withTail(5, { phase: 'idle' }), 'n3', false],
    ['any node, of one never written', volumeRecord(), 'n3', true],
    [
      'any node, of one that is deleted',
      withTail(5, { phase: 'deleting' }, { chain: [], attachments: [] }),
      'n1',
      false,
    ],
  ])('%s: is named when it may know a later record', (_, record, name, mayKnow) => {
    const plan = planned([kept('n3', record)], without(name));
    expect(plan.missing).toEqual(mayKnow ? [name] : []);
    expect(plan.allLosses).toHaveLength(mayKnow ? 1 : 0);
    if (mayKnow) {
      expect(plan.outcome).toBe('loss');
      expect(plan.allLosses[0]).toMatch(`volume db1: ${name} may know a later record`);
      expect(plan.allLosses[0]).toContain(`epoch ${record.epoch}`);
    }
  });

  it('counts as away when it came back with another pool', () => {
    const record = withTail(5, openAt(5, ['n1', 'n2']));
    const nodes = [node('n1'), node('n2', { pool: 'new', layers: new Set() }), node('n3')];
    const plan = planned([kept('n1', record)], { nodes });
    expect(plan).toMatchObject({ outcome: 'loss', missing: ['n2'] });
  });

  it('does not matter for what a store says that everybody believes', () => {
    const record = withTail(5, openAt(5, ['n1', 'n2']));
    const store = { clusterId: cluster, current: true };
    const plan = planned([kept(null, record, '60'), kept('n1', record)], {
      store,
      ...without('n2'),
    });
    expect(plan).toMatchObject({ outcome: 'exact', unchanged: true, missing: [] });
  });
});

describe('copies', () => {
  const record = withTail(1, { phase: 'idle' }, { attachments: [] });
  const bare = (name: string) => node(name, { layers: new Set() });

  it('whose file is gone are taken out', () => {
    const plan = planned([kept('n1', record)], { nodes: [node('n1'), bare('n2'), node('n3')] });
    expect(plan.record?.chain[0]?.replicas).toEqual([replica('n1', 'clean')]);
    expect(plan).toMatchObject({ outcome: 'in-doubt', losses: [] });
  });

  it('that are nowhere make a volume impossible', () => {
    const plan = planned([kept('n1', record)], { nodes: [bare('n1'), bare('n2'), node('n3')] });
    expect(plan).toMatchObject({ outcome: 'impossible', record: null });
    expect(plan.losses[0]).toMatch('no whole copy of layer 1 is left');
  });

  it('in doubt are believed only as the last, with the word of the operator', () => {
    const chain = [sealed(1, [replica('n1', 'clean'), replica('n2', 'unverified')])];
    const doubtful = { ...record, chain };
    const plan = planned([kept('n2', doubtful)], { nodes: [bare('n1'), node('n2'), node('n3')] });
    expect(plan).toMatchObject({ outcome: 'loss' });
    expect(plan.record?.chain[0]).toMatchObject({ authority: 'n2', manifest: null });
    expect(plan.record?.chain[0]?.replicas).toEqual([replica('n2', 'clean')]);
  });
});

describe('the store', () => {
  const mine = withTail(1, { phase: 'idle' }, { attachments: [] });

  it('of another cluster is never written to', () => {
    const strange = { ...mine, id: 'ffffffff-2222-4333-8444-555555555555', name: 'theirs' };
    const other = 'ffffffff-1111-4222-8333-444444444444';
    const plan = planRecovery(
      situation([kept('n1', mine), kept(null, strange, '9', other)], {
        store: { clusterId: other, current: false },
      }),
    );
    expect(plan.refused).toMatch(/theirs.*another cluster's/);
  });

  it('loses what was deleted after it was copied, and nothing else', () => {
    const empty = ['n1', 'n2', 'n3'].map((n) => node(n, { layers: new Set() }));
    const store = { clusterId: cluster, current: false };
    const deleted = planned([kept(null, mine, '9')], { store, nodes: empty });
    expect(deleted).toMatchObject({ outcome: 'gone', record: null });
    const here = planned([kept(null, mine, '9')], { store });
    expect(here).toMatchObject({ outcome: 'exact', unchanged: true });
    const never = planned([kept(null, volumeRecord(), '9')], { store, nodes: empty });
    expect(never).toMatchObject({ outcome: 'exact', unchanged: true });
    const current = { clusterId: cluster, current: true };
    const fresh = planned([kept(null, mine, '9')], { store: current, nodes: empty });
    expect(fresh.outcome).toBe('impossible');
  });

  it('that was set back and used has another history, which is told of', () => {
    const ours = withTail(9, openAt(9, ['n1', 'n2']));
    const theirs = withTail(7, openAt(7, ['n3', 'n2']));
    const plan = planned([kept('n1', ours, '90'), kept('n3', theirs, '95')]);
    expect(plan).toMatchObject({ outcome: 'loss', epoch: 9, from: 'n1' });
    expect(plan.losses[0]).toMatch('another history of it, up to epoch 7, on n3');
  });

  it('has a name once: of two volumes the later one keeps it', () => {
    const other = { ...mine, id: 'ffffffff-2222-4333-8444-555555555555', epoch: 8 };
    const plan = planRecovery(situation([kept('n1', mine), kept('n2', other)]));
    expect(plan.volumes.map((v) => [v.epoch, v.record?.name])).toEqual([
      [8, 'db1'],
      [1, 'db1-11111111'],
    ]);
  });
});

/** Puts a value in place of another one somewhere in a structure. */
function spoil(value: unknown, path: readonly number[], by: unknown): unknown {
  if (typeof value !== 'object' || value === null || path.length === 0) return by;
  const keys = Object.keys(value);
  const key = keys[(path[0] ?? 0) % Math.max(1, keys.length)];
  if (key === undefined) return by;
  const inner = spoil((value as Record<string, unknown>)[key], path.slice(1), by);
  return Array.isArray(value)
    ? value.map((entry: unknown, i) => (String(i) === key ? inner : entry))
    : { ...value, [key]: inner };
}

describe('whatever lies in the pools', () => {
  const records = [
    withTail(5, openAt(5, ['n1', 'n2'])),
    withTail(6, openingAt(6, ['n1', 'n3'], ['n1', 'n2'])),
    withTail(3, { phase: 'idle' }),
    withTail(7, { phase: 'fencing', taker: 'n3', epoch: 7, unsealed: unsealed(5, ['n1', 'n2']) }),
  ];

  it('a record that is spoilt anywhere costs no more than itself', () => {
    const by = fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.constant(2 ** 60));
    const good = { ...withTail(2, { phase: 'idle' }), id: 'ffffffff-2222-4333-8444-555555555555' };
    const property = fc.property(
      fc.constantFrom(...records),
      fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }),
      by,
      (record, path, value) => {
        const text = JSON.stringify({
          clusterId: cluster,
          revision: '7',
          volume: spoil(record, path, value),
        });
        const candidates = [kept('n2', good)];
        try {
          candidates.push({ node: 'n1', ...parseSidecar(record.id, text) });
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(damaged|old-software)$/) });
        }
        const plan = planRecovery(situation(candidates));
        expect(plan.volumes.find((v) => v.id === good.id)?.record).toMatchObject({ id: good.id });
      },
    );
    fc.assert(property, { numRuns: runs });
  });

  it('what is written keeps every rule, and every file that it names is there', () => {
    const names = ['n1', 'n2', 'n3'];
    const facts = fc.record({
      fence: fc.nat(9),
      burnt: fc.boolean(),
      rebooted: fc.boolean(),
      missing: fc.subarray(['layer-1', 'layer-4', 'layer-5', 'layer-6']),
      away: fc.boolean(),
    });
    const property = fc.property(
      fc.constantFrom(...records),
      fc.tuple(facts, facts, facts),
      (record, each) => {
        const nodes = names.flatMap((name, i) => {
          const f = each[i];
          if (f === undefined || f.away) return [];
          const layers = ['layer-1', 'layer-4', 'layer-5', 'layer-6'];
          return node(name, {
            boot: f.rebooted ? 'later' : `boot-${name}`,
            layers: new Set(layers.filter((l) => !f.missing.includes(l))),
            fences: new Map([[record.id, f.fence]]),
            burnt: new Set(f.burnt && !f.rebooted ? ['layer-6', 'layer-5'] : []),
          });
        });
        const silent = names.filter((name) => !nodes.some((n) => n.name === name)).map(away);
        const plan = planned([kept('n1', record)], { nodes, silent });
        if (plan.record === null) return;
        for (const layer of plan.record.chain) {
          for (const { node: holder, state } of layer.replicas) {
            const found = nodes.find((n) => n.name === holder);
            if (state === 'clean' && found) expect(found.layers).toContain(layer.id);
          }
        }
        // A layer that may hold acknowledged writes is never given up for one that was not served.
        const lost = knownLayers(record).filter(
          (l) => !knownLayers(plan.record as Volume).some((k) => k.id === l.id),
        );
        expect(lost).toEqual([]);
        expect(plan.record.epoch).toBeGreaterThanOrEqual(record.epoch);
      },
    );
    fc.assert(property, { numRuns: runs });
  });
});
