import { describe, expect, test } from 'vitest';
import { markDeleted } from '../../../src/volume/delete.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import {
  completeRestore,
  createRestoring,
  restoringLayer,
  serveRestore,
  takeOverRestore,
} from '../../../src/volume/restore.ts';
import { retirePool } from '../../../src/volume/retire.ts';
import type { Volume } from '../../../src/volume/types.ts';
import { deepFreeze, mebibyte, open, poolOf, record, refuses, sealed } from './fixtures.ts';

const place = (node: string) => ({ node, pool: poolOf(node) });
const proof = { root: 'hash', bytes: 4_096 };
const restoredFrom = { target: 'nas', backup: 'b', volume: 'v0', volumeName: 'db1', at: '' };

/** A volume that n1 restores, perhaps in use. */
function restoring(changes: Partial<Volume> = {}): Volume {
  const { id, name, policy, createdAt } = record();
  const request = { id, name, policy, createdAt, sizeBytes: 64 * mebibyte, restoredFrom };
  const made = createRestoring(request, 'layer-1', { ...place('n1'), port: 7_500 });
  return deepFreeze({ ...made, ...changes });
}

function stepped(before: Volume, after: Volume): Volume {
  assertStep(before, after);
  return deepFreeze(after);
}

describe('a volume that is being restored', () => {
  test('can be used: it is idle, and its layer has no clean copy but a backup', () => {
    const volume = restoring();
    assertRecord(volume);
    expect(volume).toMatchObject({ epoch: 1, tail: { phase: 'idle' }, restoredFrom });
    expect(restoringLayer(volume)).toMatchObject({
      ...{ epoch: 1, manifest: null, replicas: [{ ...place('n1'), state: 'copying' }] },
      restoring: { ...place('n1'), port: 7_500 },
    });
  });

  test('says where it is served, and what is wrong, once', () => {
    const volume = restoring();
    const now = { port: 7_501, problem: 'the target is away' };
    const told = stepped(volume, serveRestore(volume, 'layer-1', place('n1'), now));
    expect(restoringLayer(told)?.restoring).toEqual({ ...place('n1'), ...now });
    expect(serveRestore(told, 'layer-1', place('n1'), now)).toBe(told);
    const well = serveRestore(told, 'layer-1', place('n1'), { port: 7_501, problem: null });
    expect(restoringLayer(well)?.restoring).toEqual({ ...place('n1'), port: 7_501 });
  });

  test('is as any when the copy is whole, also while it is written to', () => {
    const tail = open(2, ['n2']);
    // What a node knows of itself is more than what a copy is told by.
    const self = { ...place('n1'), boot: 'boot-n1' };
    for (const volume of [restoring(), restoring({ tail, epoch: 2 })]) {
      const done = stepped(volume, completeRestore(volume, 'layer-1', self, proof));
      expect(done.chain).toEqual([
        sealed(1, ['n1'], { manifest: 'hash', bytes: 4_096, authority: 'n1' }),
      ]);
      refuses(done, (v) => completeRestore(v, 'layer-1', place('n1'), proof), /not being restored/);
    }
  });

  test('is taken over by another node, and what the first one has is deleted', () => {
    const volume = restoring();
    const moved = stepped(volume, takeOverRestore(volume, 'layer-1', place('n1'), place('n2')));
    expect(restoringLayer(moved)).toMatchObject({
      replicas: [{ ...place('n2'), state: 'copying' }],
      restoring: { ...place('n2'), port: null },
    });
    expect(moved.garbage).toEqual([
      { layer: 'layer-1', epoch: 1, afterEpoch: 0, holders: [place('n1')] },
    ]);
    // The first one is back, and knows nothing of it.
    const [n1, n2, n3] = [place('n1'), place('n2'), place('n3')];
    refuses(moved, (v) => completeRestore(v, 'layer-1', n1, proof), /not being restored on n1/);
    refuses(moved, (v) => takeOverRestore(v, 'layer-1', n1, n3), /not being restored on n1/);
    refuses(moved, (v) => takeOverRestore(v, 'layer-1', n2, n2), /n2 restores layer 1 already/);
    const back = stepped(moved, takeOverRestore(moved, 'layer-1', place('n2'), place('n1')));
    expect(back.garbage).toEqual([
      { layer: 'layer-1', epoch: 1, afterEpoch: 0, holders: [place('n2')] },
    ]);
  });

  test('can be deleted, and keeps its node from being removed', () => {
    const volume = restoring();
    const gone = stepped(volume, markDeleted(volume));
    expect(gone.garbage).toMatchObject([{ layer: 'layer-1', holders: [place('n1')] }]);
    refuses(volume, (v) => retirePool(v, place('n1')), /being restored on n1/);
  });
});

describe('the invariants', () => {
  const broken = (volume: Volume) => () => assertRecord(volume);

  test('want a clean copy of what no backup has', () => {
    const [layer] = restoring().chain;
    const { restoring: _, ...bare } = layer ?? sealed(1, []);
    expect(broken(restoring({ chain: [bare] }))).toThrow(/no clean copy/);
    const hashed = { ...bare, restoring: { ...place('n1'), port: 1 }, manifest: 'x' };
    expect(broken(restoring({ chain: [hashed] }))).toThrow(/no clean copy/);
  });

  test('let nothing become restored that is sealed', () => {
    const chain = [sealed(1, ['n1', 'n2'])];
    const before = record({ chain, epoch: 1 });
    const port = { ...place('n1'), port: 1 };
    const after = record({ chain: chain.map((l) => ({ ...l, restoring: port })), epoch: 1 });
    expect(() => assertStep(before, after)).toThrow(/changed \(rule 4\)/);
  });
});
