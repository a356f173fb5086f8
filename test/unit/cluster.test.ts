/** Who plans, and what is planned: background jobs, repair of copies, merges of chains. */
import { describe, expect, test } from 'vitest';
import { coordinatorOf } from '../../src/cluster/coordinator.ts';
import { jobsFor } from '../../src/cluster/jobs.ts';
import { mergeStep } from '../../src/cluster/merge.ts';
import { repairStep } from '../../src/cluster/repair.ts';
import { assertStep } from '../../src/volume/invariants.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { Merge, NodeView, SealedLayer, Volume } from '../../src/volume/types.ts';
import {
  attachment,
  fencing,
  node,
  open,
  opening,
  poolOf,
  record,
  replicas,
  sealed,
  unsealed,
} from './volume/fixtures.ts';

const names = ['n1', 'n2', 'n3', 'n4'];
const up = (...down: string[]) => names.map((n) => node(n, { up: !down.includes(n) }));
const self = (name: string) => ({ node: name, pool: poolOf(name) });
const unproven = { manifest: null, bytes: null };

describe('coordinatorOf', () => {
  const idle = record({ chain: [sealed(1, ['n1', 'n4']), sealed(2, ['n3', 'n2', 'n1?'])] });

  test('is the writer while there is one, and nobody when it is down', () => {
    const chain = [sealed(1, ['n2'])];
    const tails = [open(2, ['n3', 'n2']), opening(unsealed(2, ['n3']), null)];
    for (const tail of tails) {
      expect(coordinatorOf(record({ chain, tail }), up())).toBe('n3');
      expect(coordinatorOf(record({ chain, tail }), up('n3'))).toBeNull();
    }
  });

  test('of an idle volume is the first live holder of the newest layer', () => {
    expect(coordinatorOf(idle, up())).toBe('n2');
    expect(coordinatorOf(idle, up('n2'))).toBe('n3');
    expect(coordinatorOf(idle, up('n2', 'n3'))).toBeNull();
  });

  test('there is none without layers, during a take-over, for a tombstone', () => {
    expect(coordinatorOf(record(), up())).toBeNull();
    const tail = fencing('n1', 4, unsealed(3, ['n1']));
    expect(coordinatorOf(record({ ...idle, tail }), up())).toBeNull();
    expect(coordinatorOf(record({ tail: { phase: 'deleting' } }), up())).toBeNull();
  });
});

describe('jobsFor', () => {
  const kinds = (volume: Volume, name: string, nodes: NodeView[] = up()) =>
    jobsFor(volume, self(name), nodes).map((j) =>
      'epoch' in j ? `${j.kind} ${j.epoch}` : 'into' in j ? `${j.kind} ${j.into}` : j.kind,
    );

  test('the authority hashes, the newest layer first', () => {
    const chain = [1, 2].map((e) => sealed(e, ['n1', 'n2'], { ...unproven, authority: 'n2' }));
    expect(kinds(record({ chain }), 'n2')).toEqual(['manifest 2', 'manifest 1']);
    expect(kinds(record({ chain }), 'n1')).toEqual([]);
  });

  test('another clean holder hashes when the authority is down, never an unverified one', () => {
    const chain = [sealed(1, ['n1', 'n3', 'n2?'], unproven)];
    expect(kinds(record({ chain }), 'n3', up('n1'))).toEqual(['manifest 1']);
    expect(kinds(record({ chain }), 'n2', up('n1'))).toEqual([]);
    expect(kinds(record({ chain }), 'n2', up('n1', 'n3'))).toEqual([]);
  });

  test('unverified copies are mended before others are filled, the newest first (rule 5)', () => {
    const chain = [1, 2].map((e) => sealed(e, ['n2', 'n1?']));
    chain.push(...[3, 4].map((e) => sealed(e, ['n2', 'n1+'])));
    expect(kinds(record({ chain }), 'n1')).toEqual(['mend 2', 'mend 1', 'mend 4', 'mend 3']);
  });

  test('a mend comes from the authority, else from any live clean copy, proven by the root', () => {
    const chain = [sealed(1, ['n3', 'n2', 'n1?'], { authority: 'n2' })];
    const job = {
      kind: 'mend',
      layer: 'layer-1',
      epoch: 1,
      from: 'n2',
      others: ['n3'],
      root: 'root-1',
      state: 'unverified',
      ofMerge: false,
    };
    expect(jobsFor(record({ chain }), self('n1'), up())).toEqual([job]);
    const other = [{ ...job, from: 'n3', others: [] }];
    expect(jobsFor(record({ chain }), self('n1'), up('n2'))).toEqual(other);
    expect(jobsFor(record({ chain }), self('n1'), up('n2', 'n3'))).toEqual([]);
  });

  test('nothing is mended without a manifest, or on another pool than the one recorded', () => {
    const chain = [sealed(1, ['n2', 'n1?'], unproven)];
    expect(kinds(record({ chain }), 'n1')).toEqual([]);
    const proven = record({ chain: [sealed(1, ['n2', 'n1?'])] });
    expect(jobsFor(proven, { node: 'n1', pool: 'new disk' }, up())).toEqual([]);
  });

  const merging = (changes: Partial<Merge>, copies: string[], chain: SealedLayer[] = run) =>
    record({
      chain,
      merge: {
        layers: ['layer-1', 'layer-2'],
        into: 'merged',
        builder: 'n1',
        ...unproven,
        ...changes,
        replicas: replicas(...copies),
      },
    });
  const run = [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2'])];

  test('the builder merges once every live copy is proven', () => {
    expect(kinds(merging({}, ['n1+']), 'n1')).toEqual(['merge merged']);
    expect(kinds(merging({}, ['n1+']), 'n2')).toEqual([]);
    const busy = merging({}, ['n1+'], [...run, sealed(3, ['n1', 'n3?'])]);
    expect(kinds(busy, 'n1')).toEqual([]);
    expect(kinds(busy, 'n1', up('n3'))).toEqual(['merge merged']);
  });

  test('a builder that has lost its clean copy of an input does not merge', () => {
    const dropped = [sealed(1, ['n2', 'n3']), sealed(2, ['n1', 'n2'])];
    expect(kinds(merging({}, ['n1+'], dropped), 'n1')).toEqual([]);
  });

  test('the others copy what was built', () => {
    const built = merging({ manifest: 'root', bytes: 1 }, ['n1', 'n2+']);
    expect(kinds(built, 'n1')).toEqual([]);
    expect(jobsFor(built, self('n2'), up())).toMatchObject([
      { kind: 'mend', layer: 'merged', epoch: 2, from: 'n1', root: 'root', ofMerge: true },
    ]);
  });

  test('files are deleted last, only when no head can see them, only by their holder and pool', () => {
    const garbage = [
      { layer: 'old', epoch: 1, afterEpoch: 3, holders: [self('n1'), self('n2')] },
      { layer: 'read', epoch: 2, afterEpoch: 4, holders: [self('n1')] },
    ];
    const chain = [sealed(3, ['n2', 'n1?'])];
    const volume = record({ chain, garbage, tail: open(4, ['n2', 'n1']) });
    const old = { kind: 'delete', layers: [{ layer: 'old', epoch: 1 }] };
    expect(jobsFor(volume, self('n1'), up()).at(-1)).toEqual(old);
    expect(kinds(volume, 'n1')).toEqual(['mend 3', 'delete']);
    expect(jobsFor(record({ ...volume, tail: { phase: 'idle' } }), self('n1'), up())[1]).toEqual({
      kind: 'delete',
      layers: [...old.layers, { layer: 'read', epoch: 2 }],
    });
    expect(kinds(volume, 'n3')).toEqual([]);
    expect(jobsFor(volume, { node: 'n2', pool: 'new disk' }, up())).toEqual([]);
  });
});

describe('repairStep', () => {
  const none = new Set<string>();
  const view = (nodes = up(), givenUp = none) => ({ nodes, givenUp });

  /** The copies of the first layer after the step, or null when there is none. */
  function copies(volume: Volume, seen = view()): string[] | null {
    const step = repairStep(volume, seen);
    if (step === null) return null;
    const after = step.apply(volume);
    assertStep(volume, after);
    const marks = { clean: '', unverified: '?', copying: '+' };
    return after.chain[0]?.replicas.map((r) => r.node + marks[r.state]) ?? [];
  }
  const gold = { policy: policyNamed('Gold') };

  test('does nothing when every layer has its copies', () => {
    expect(copies(record({ chain: [sealed(1, ['n1', 'n2'])] }))).toBeNull();
  });

  test('adds a missing copy where most space is, but to a member of the write set first', () => {
    const nodes = [...up(), node('n5', { free: 900 })];
    const idle = record({ chain: [sealed(1, ['n1'])] });
    expect(copies(idle, view(nodes))).toEqual(['n1', 'n5+']);
    const written = record({ chain: idle.chain, tail: open(2, ['n1', 'n3']) });
    expect(copies(written, view(nodes))).toEqual(['n1', 'n3+']);
  });

  test('brings every layer to its writer, whatever the number of copies', () => {
    const volume = record({ chain: [sealed(1, ['n1', 'n2'])], tail: open(2, ['n3', 'n1']) });
    expect(copies(volume)).toEqual(['n1', 'n2', 'n3+']);
  });

  test('waits for a dead node until it is given up', () => {
    const volume = record({ chain: [sealed(1, ['n1', 'n2'])] });
    expect(copies(volume, view(up('n2')))).toBeNull();
    expect(copies(volume, view(up('n2'), new Set(['n2'])))).toEqual(['n1', 'n2', 'n3+']);
  });

  test('uses no node that is down or full', () => {
    const nodes = [node('n1'), node('n2', { up: false }), node('n3', { free: 10 }), node('n4')];
    const chain = [sealed(1, ['n1'])];
    expect(copies(record({ chain }), view(nodes))).toEqual(['n1', 'n4+']);
  });

  test('drops what is too much: a dead copy first, never one that is needed', () => {
    const three = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])] });
    expect(copies(three, view(up('n2')))).toEqual(['n1', 'n3']);
    expect(copies(three, view(up('n2', 'n3')))).toBeNull();
    const unready = record({ chain: [sealed(1, ['n1', 'n2', 'n3+'])] });
    expect(copies(unready)).toEqual(['n1', 'n2']);
    const short = record({ ...gold, chain: [sealed(1, ['n1', 'n2', 'n3?', 'n4?'])] });
    expect(copies(short)).toBeNull();
  });

  test('keeps the copies of the writer and of the write set', () => {
    const chain = [sealed(1, ['n1', 'n2', 'n3'])];
    expect(copies(record({ chain, tail: open(2, ['n1', 'n2']) }))).toEqual(['n1', 'n2']);
    expect(copies(record({ chain, tail: open(2, ['n3', 'n1']) }))).toEqual(['n1', 'n3']);
  });

  test('waits while an epoch changes', () => {
    const chain = [sealed(1, ['n1'])];
    for (const tail of [
      opening(unsealed(2, ['n1']), null),
      fencing('n1', 3, unsealed(2, ['n1'])),
    ]) {
      expect(copies(record({ chain, tail }))).toBeNull();
    }
  });
});

describe('mergeStep', () => {
  const view = (...down: string[]) => ({ nodes: up(...down), newId: () => 'merged' });
  const long = (sizes: number[], copies = ['n1', 'n2']) =>
    record({ chain: sizes.map((bytes, i) => sealed(i + 1, copies, { bytes })) });
  const short = { ...policyNamed('Silver'), maxLayers: 4 };

  /** The epochs of the layers in the merge that begins. */
  function run(volume: Volume, seen = view()): number[] | null {
    const step = mergeStep({ ...volume, policy: short }, seen);
    if (step === null) return null;
    const before = record({ ...volume, policy: short });
    const after = step.apply(before);
    assertStep(before, after);
    const layers = after.merge?.layers ?? [];
    return after.chain.filter((l) => layers.includes(l.id)).map((l) => l.epoch);
  }

  test('leaves a chain alone that is no longer than the policy allows', () => {
    expect(run(long([1, 1, 1, 1]))).toBeNull();
  });

  test('begins with the cheapest run that brings the chain down to half', () => {
    expect(run(long([9, 1, 1, 1, 1]))).toEqual([2, 3, 4, 5]);
    expect(run(long([1, 1, 1, 1, 9]))).toEqual([1, 2, 3, 4]);
    expect(run(long([9, 1, 2, 3, 1, 9, 9]))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('waits until every copy of the run is proven and live', () => {
    const volume = long([1, 1, 1, 1, 1]);
    expect(run(volume, view('n2'))).toBeNull();
    expect(run(long([1, 1, 1, 1, 1], ['n1', 'n2?']))).toBeNull();
    expect(run(record({ chain: volume.chain.map((l) => ({ ...l, ...unproven })) }))).toBeNull();
    const tail = fencing('n1', 9, unsealed(8, ['n1']));
    expect(run(record({ chain: volume.chain, tail }))).toBeNull();
  });

  test('takes a shorter run where no live node holds the longer one whole', () => {
    const volume = long([1, 1, 1, 1, 1]);
    const moved = volume.chain.map((l) => (l.epoch > 3 ? sealed(l.epoch, ['n3', 'n4']) : l));
    expect(run(record({ chain: moved }))).toEqual([1, 2, 3]);
    expect(run(record({ chain: moved }), view('n2'))).toEqual([4, 5]);
  });

  test('is built by the writer where it holds the run, else by another holder', () => {
    const builder = (tail: Volume['tail']) => {
      const volume = record({ chain: long([1, 1, 1, 1, 1]).chain, policy: short, tail });
      return mergeStep(volume, view())?.apply(volume).merge?.builder;
    };
    expect(builder({ phase: 'idle' })).toBe('n1');
    expect(builder(open(6, ['n2', 'n1']))).toBe('n2');
    expect(builder(open(6, ['n3', 'n1']))).toBe('n1');
  });

  test('a chain of one layer has nothing to merge, whatever the policy says', () => {
    const policy = { ...short, maxLayers: 0 };
    expect(mergeStep(record({ chain: [sealed(1, ['n1'])], policy }), view())).toBeNull();
  });

  const merging = (copies: string[], changes: Partial<Merge> = {}, chain?: SealedLayer[]) =>
    record({
      attachments: [attachment('n1')],
      chain: chain ?? [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2'])],
      merge: {
        layers: ['layer-1', 'layer-2'],
        into: 'merged',
        builder: 'n1',
        manifest: 'root',
        bytes: 1,
        ...changes,
        replicas: replicas(...copies),
      },
    });

  /** What becomes of a merge: the record after the step, or null. */
  function outcome(volume: Volume, seen = view()): string | null {
    const step = mergeStep(volume, seen);
    if (step === null) return null;
    const after = step.apply(volume);
    assertStep(volume, after);
    return after.chain.some((l) => l.id === 'merged') ? 'completed' : 'given up';
  }

  test('is completed when all its copies are proven, and waits until then', () => {
    expect(outcome(merging(['n1', 'n2']))).toBe('completed');
    expect(outcome(merging(['n1', 'n2+']))).toBeNull();
    expect(outcome(merging(['n1+'], { manifest: null }))).toBeNull();
  });

  test('is given up when one of its nodes is down, or too few take part', () => {
    expect(outcome(merging(['n1', 'n2+']), view('n2'))).toBe('given up');
    expect(outcome(merging(['n1+'], { manifest: null }), view('n1'))).toBe('given up');
    expect(outcome(merging(['n1']))).toBe('given up');
  });

  test('is given up when its builder has lost its clean copy of an input', () => {
    const chain = [sealed(1, ['n2', 'n3']), sealed(2, ['n1', 'n2'])];
    expect(outcome(merging(['n1+'], { manifest: null }, chain))).toBe('given up');
  });
});
