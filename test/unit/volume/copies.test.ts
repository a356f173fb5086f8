import { describe, expect, test } from 'vitest';
import { addReplica, dropReplica, markClean, recordManifest } from '../../../src/volume/copies.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { open, poolOf, record, refuses, sealed } from './fixtures.ts';

const at = (node: string) => ({ node, pool: poolOf(node) });
const proof = { root: 'root', bytes: 7 };
const unproven = { manifest: null, bytes: null };

describe('recordManifest', () => {
  test('fixes what every clean copy must match', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2'], unproven), sealed(2, ['n1'])] });
    const after = recordManifest(before, 'layer-1', proof);
    assertStep(before, after);
    expect(after.chain).toEqual([
      sealed(1, ['n1', 'n2'], { manifest: 'root', bytes: 7 }),
      sealed(2, ['n1']),
    ]);
  });

  test('is refused a second time, and for a layer that is not sealed', () => {
    const before = record({ chain: [sealed(1, ['n1'])], tail: open(2, ['n1']) });
    refuses(before, (v) => recordManifest(v, 'layer-1', proof), /has one already/);
    refuses(before, (v) => recordManifest(v, 'layer-2', proof), /is not sealed/);
  });
});

describe('markClean', () => {
  test('makes an unverified or a filled copy count', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2?', 'n3+'])] });
    const after = markClean(markClean(before, 'layer-1', at('n2')), 'layer-1', at('n3'));
    assertStep(before, after);
    expect(after.chain).toEqual([sealed(1, ['n1', 'n2', 'n3'])]);
  });

  test('is refused without a manifest, without a copy, with another pool', () => {
    const unknown = record({ chain: [sealed(1, ['n1', 'n2?'], unproven)] });
    refuses(unknown, (v) => markClean(v, 'layer-1', at('n2')), /has no manifest/);
    const before = record({ chain: [sealed(1, ['n1', 'n2?'])] });
    refuses(before, (v) => markClean(v, 'layer-1', at('n3')), /n3 holds no copy/);
    const newDisk = { node: 'n2', pool: 'a new disk' };
    refuses(before, (v) => markClean(v, 'layer-1', newDisk), /n2 holds no copy/);
    refuses(before, (v) => markClean(v, 'layer-9', at('n2')), /is not sealed/);
  });
});

describe('addReplica', () => {
  test('lets a node fill a copy, which does not count yet', () => {
    const before = record({ chain: [sealed(1, ['n1'])] });
    const after = addReplica(before, 'layer-1', at('n2'));
    assertStep(before, after);
    expect(after.chain).toEqual([sealed(1, ['n1', 'n2+'])]);
  });

  test('is refused where there is a copy in any state, and for a layer that is not sealed', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2?'])] });
    refuses(before, (v) => addReplica(v, 'layer-1', at('n1')), /n1 has a copy/);
    refuses(before, (v) => addReplica(v, 'layer-1', at('n2')), /n2 has a copy/);
    refuses(before, (v) => addReplica(v, 'layer-9', at('n3')), /is not sealed/);
  });

  test('keeps the files of an earlier copy there from being deleted, and only those', () => {
    const chain = [1, 2].map((epoch) => sealed(epoch, ['n1', 'n2', 'n3', 'n4']));
    const before = record({ chain, tail: open(3, ['n1', 'n2']) });
    const drops = [
      ['layer-1', 'n3'],
      ['layer-1', 'n4'],
      ['layer-2', 'n3'],
    ] as const;
    const dropped = drops.reduce((v, [layer, name]) => dropReplica(v, layer, name), before);
    const after = addReplica(dropped, 'layer-1', at('n3'));
    assertStep(dropped, after);
    const left = after.garbage.map((g) => [g.layer, ...g.holders.map((h) => h.node)]);
    expect(left).toEqual([
      ['layer-1', 'n4'],
      ['layer-2', 'n3'],
    ]);
  });
});

describe('dropReplica', () => {
  test('takes a copy out and has its files deleted once no head can read them', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])], tail: open(4, ['n1', 'n2']) });
    const after = dropReplica(before, 'layer-1', 'n3');
    assertStep(before, after);
    expect(after.chain).toEqual([sealed(1, ['n1', 'n2'])]);
    const holders = [at('n3')];
    expect(after.garbage).toEqual([{ layer: 'layer-1', epoch: 1, afterEpoch: 4, holders }]);
  });

  test('a copy that is not clean may go when enough clean ones stay', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2', 'n3?'])] });
    expect(dropReplica(before, 'layer-1', 'n3').chain).toEqual([sealed(1, ['n1', 'n2'])]);
  });

  test('is refused when fewer clean copies than the policy asks for would remain (rule 7)', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2', 'n3?', 'n4+'])] });
    refuses(before, (v) => dropReplica(v, 'layer-1', 'n2'), /only 1 clean copies would remain/);
    const short = record({ chain: [sealed(1, ['n1', 'n3?'])] });
    refuses(short, (v) => dropReplica(v, 'layer-1', 'n3'), /only 1 clean copies would remain/);
    refuses(short, (v) => dropReplica(v, 'layer-1', 'n1'), /only 0 clean copies would remain/);
  });

  test('is refused where there is no copy', () => {
    const before = record({ chain: [sealed(1, ['n1', 'n2'])] });
    refuses(before, (v) => dropReplica(v, 'layer-1', 'n3'), /n3 has no copy/);
    refuses(before, (v) => dropReplica(v, 'layer-9', 'n1'), /n1 has no copy/);
  });
});
