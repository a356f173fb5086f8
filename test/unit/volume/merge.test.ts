import { describe, expect, test } from 'vitest';
import { assertStep } from '../../../src/volume/invariants.ts';
import {
  abandonMerge,
  beginMerge,
  completeMerge,
  markMergeClean,
  recordMergeBuilt,
} from '../../../src/volume/merge.ts';
import type { Merge, Volume } from '../../../src/volume/types.ts';
import { open, poolOf, record, refuses, replicas, sealed } from './fixtures.ts';

const at = (node: string) => ({ node, pool: poolOf(node) });
const proof = { root: 'root-merged', bytes: 7 };
const chain = [1, 2, 3, 4].map((epoch) => sealed(epoch, ['n1', 'n2']));
const run = ['layer-2', 'layer-3'];

function merging(copies: string[], changes: Partial<Merge> = {}, volume: Partial<Volume> = {}) {
  const built = { manifest: proof.root, bytes: proof.bytes };
  const merge = { layers: run, into: 'merged', builder: 'n1', ...built, ...changes };
  return record({ chain, ...volume, merge: { ...merge, replicas: replicas(...copies) } });
}

describe('beginMerge', () => {
  test('of adjacent layers, on a node that holds them clean', () => {
    const before = record({ chain });
    const after = beginMerge(before, run, 'merged', at('n1'));
    assertStep(before, after);
    expect(after.merge).toEqual({
      layers: run,
      into: 'merged',
      builder: 'n1',
      manifest: null,
      bytes: null,
      replicas: replicas('n1+'),
    });
    expect(after.chain).toEqual(before.chain);
  });

  test('is refused for layers that are not adjacent, in order, known, or at least two', () => {
    const before = record({ chain });
    const wrong = [
      ['layer-1', 'layer-3'],
      ['layer-3', 'layer-2'],
      ['layer-4', 'layer-5'],
      ['x'],
      [],
    ];
    for (const layers of [...wrong, ['layer-2']]) {
      refuses(before, (v) => beginMerge(v, layers, 'merged', at('n1')), /not adjacent/);
    }
  });

  test('is refused without clean copies, beside another merge, in a deleted volume', () => {
    const begin = (v: Volume) => beginMerge(v, run, 'merged', at('n1'));
    const copies = [sealed(2, ['n2', 'n1?']), sealed(3, ['n1', 'n2'])];
    refuses(record({ chain: copies }), begin, /no clean copy of layer 2/);
    refuses(record({ chain }), (v) => beginMerge(v, run, 'm', at('n3')), /no clean copy/);
    refuses(merging(['n1']), begin, /another merge is under way/);
    refuses(record({ tail: { phase: 'deleting' } }), begin, /being deleted/);
  });
});

describe('recordMergeBuilt and markMergeClean', () => {
  const unbuilt = merging(['n1+'], { manifest: null, bytes: null });

  test('the builder is clean when it has built, the others when they have copied', () => {
    const built = recordMergeBuilt(unbuilt, 'merged', proof, [at('n2')]);
    assertStep(unbuilt, built);
    expect(built.merge).toMatchObject({ manifest: 'root-merged', replicas: replicas('n1', 'n2+') });
    const copied = markMergeClean(built, 'merged', 'n2');
    assertStep(built, copied);
    expect(copied.merge?.replicas).toEqual(replicas('n1', 'n2'));
  });

  test('are refused twice, too early, for strangers and for another merge', () => {
    const built = merging(['n1', 'n2+']);
    refuses(built, (v) => recordMergeBuilt(v, 'merged', proof, []), /built already/);
    refuses(unbuilt, (v) => recordMergeBuilt(v, 'other', proof, []), /no merge into other/);
    refuses(unbuilt, (v) => markMergeClean(v, 'merged', 'n1'), /has no part/);
    refuses(built, (v) => markMergeClean(v, 'merged', 'n3'), /has no part/);
    refuses(record({ chain }), (v) => markMergeClean(v, 'merged', 'n1'), /no merge into/);
  });
});

describe('completeMerge', () => {
  test('exchanges the run for its result; the old files go when no head can read them', () => {
    const before = merging(['n1', 'n2'], {}, { tail: open(5, ['n1', 'n2']) });
    const after = completeMerge(before, 'merged');
    assertStep(before, after);
    expect(after.chain.map((l) => l.id)).toEqual(['layer-1', 'merged', 'layer-4']);
    expect(after.chain[1]).toEqual({
      id: 'merged',
      epoch: 3,
      sizeBytes: chain[2]?.sizeBytes,
      manifest: 'root-merged',
      bytes: 7,
      authority: 'n1',
      replicas: replicas('n1', 'n2'),
    });
    expect(after.merge).toBeNull();
    const holders = [at('n1'), at('n2')];
    expect(after.garbage).toEqual([
      { layer: 'layer-2', epoch: 2, afterEpoch: 5, holders },
      { layer: 'layer-3', epoch: 3, afterEpoch: 5, holders },
    ]);
  });

  test('is refused while fewer copies are clean than each layer has, up to the policy', () => {
    const text = /1 of 2 copies are ready/;
    refuses(merging(['n1', 'n2+']), (v) => completeMerge(v, 'merged'), text);
    refuses(merging(['n1']), (v) => completeMerge(v, 'merged'), text);
    const unbuilt = merging(['n1+'], { manifest: null });
    refuses(unbuilt, (v) => completeMerge(v, 'merged'), /0 of 2 copies/);
    refuses(record({ chain }), (v) => completeMerge(v, 'merged'), /no merge into/);
  });

  test('one copy will do where a layer of the run had only one', () => {
    const short = [sealed(2, ['n1', 'n2']), sealed(3, ['n1', 'n2?'])];
    const after = completeMerge(merging(['n1'], {}, { chain: short }), 'merged');
    expect(after.chain).toHaveLength(1);
  });

  test('more copies than the policy asks for are not waited for', () => {
    const many = [sealed(2, ['n1', 'n2', 'n3']), sealed(3, ['n1', 'n2', 'n3'])];
    const after = completeMerge(merging(['n1', 'n2', 'n3+'], {}, { chain: many }), 'merged');
    expect(after.chain[0]?.replicas).toEqual(replicas('n1', 'n2', 'n3+'));
  });
});

describe('abandonMerge', () => {
  test('deletes what was built and keeps the chain', () => {
    const before = merging(['n1', 'n2+']);
    const after = abandonMerge(before, 'merged');
    assertStep(before, after);
    expect(after.merge).toBeNull();
    expect(after.chain).toEqual(before.chain);
    const holders = [at('n1'), at('n2')];
    expect(after.garbage).toEqual([{ layer: 'merged', epoch: 3, afterEpoch: 0, holders }]);
  });

  test('is refused for another merge', () => {
    refuses(merging(['n1']), (v) => abandonMerge(v, 'other'), /no merge into other/);
    refuses(record({ chain }), (v) => abandonMerge(v, 'merged'), /no merge into/);
  });
});
