/** Going on without data: what may be believed or given up, and what may not. */
import { describe, expect, test } from 'vitest';
import { acceptLoss, type Decision, isAccepted } from '../../../src/volume/accept-loss.ts';
import { planLoss, type Reached } from '../../../src/volume/accept-loss-plan.ts';
import { describeLoss } from '../../../src/volume/accept-loss-text.ts';
import { beginFencing } from '../../../src/volume/fence.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import type { Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  fencing,
  open,
  opening,
  poolOf,
  record,
  refuses,
  sealed,
  unsealed,
} from './fixtures.ts';

const decision: Decision = { at: '2026-01-02T00:00:00Z', by: 'root', node: 'n3', text: ['gone'] };

/** A node that answers and holds these layers, last written at noon plus their epoch in minutes. */
function holds(node: string, epochs: number[], changes: Partial<Reached> = {}): Reached {
  return {
    node,
    pool: poolOf(node),
    boot: bootOf(node),
    layers: epochs.map((e) => ({ layer: `layer-${e}`, writtenAt: `2026-01-01T12:0${e}:00Z` })),
    ...changes,
  };
}
const rebooted = (node: string, epochs: number[]) => holds(node, epochs, { boot: 'later' });

/** n1 writes epoch 2 with n2; n3 has an unproven copy of the layer before. */
const lost = record({
  attachments: [attachment('n1'), attachment('n4')],
  chain: [sealed(1, ['n1', 'n2', 'n3?'])],
  tail: open(2, ['n1', 'n2']),
});

function force(volume: Volume, reached: Reached[]): Volume {
  const fenced = beginFencing(volume, 'n3', []);
  assertStep(volume, fenced);
  const after = acceptLoss(fenced, planLoss(fenced, reached), decision);
  assertStep(fenced, after);
  return after;
}

describe('a plan', () => {
  test('gives up the open layer that nobody has, and believes the older copy that is there', () => {
    const plan = planLoss(lost, [holds('n3', [1])]);
    expect(plan).toEqual({
      believed: [
        {
          layer: 'layer-1',
          epoch: 1,
          node: 'n3',
          writtenAt: '2026-01-01T12:01:00Z',
          why: 'unverified',
        },
      ],
      dropped: [{ layer: 'layer-2', epoch: 2, since: null, holders: ['n1', 'n2'] }],
      missing: ['n1', 'n2'],
      cutOffWriter: 'n1',
    });
  });

  test('believes a rebooted member rather than to give its layer up', () => {
    const plan = planLoss(lost, [rebooted('n2', [1, 2])]);
    expect(plan.dropped).toEqual([]);
    expect(plan.believed).toMatchObject([{ layer: 'layer-2', node: 'n2', why: 'rebooted' }]);
    expect(plan.missing).toEqual(['n1']);
    // It is made to refuse, so n1 cannot be acknowledged anything more.
    expect(plan.cutOffWriter).toBeNull();
  });

  test('of several copies takes the one that was written to last', () => {
    const older = holds('n3', [1], {});
    const newer = holds('n4', [], {
      layers: [{ layer: 'layer-1', writtenAt: '2026-01-01T13:00:00Z' }],
    });
    const volume = record({ chain: [sealed(1, ['n1', 'n3?', 'n4?'])] });
    expect(planLoss(volume, [older, newer]).believed[0]?.node).toBe('n4');
    expect(planLoss(volume, [newer, older]).believed[0]?.node).toBe('n4');
  });

  test('believes a damaged copy only where there is no other, and says so', () => {
    const damage = { ranges: [], bytes: 1, foundAt: '', readUpTo: 0 };
    const [n1, n3, n4] = sealed(1, ['n1', 'n3?', 'n4?']).replicas;
    const volume = record({
      chain: [sealed(1, ['n1'], { replicas: [n1!, { ...n3!, damage }, n4!] })],
    });
    const newer = holds('n3', [], {
      layers: [{ layer: 'layer-1', writtenAt: '2026-01-01T13:00:00Z' }],
    });
    expect(planLoss(volume, [newer, holds('n4', [1])]).believed[0]).toMatchObject({
      node: 'n4',
      why: 'unverified',
    });
    const plan = planLoss(volume, [newer]);
    expect(plan.believed[0]).toMatchObject({ node: 'n3', why: 'damaged' });
    expect(describeLoss(volume, plan).lost[0]).toContain('KNOWN TO BE DAMAGED');
    const after = acceptLoss(volume, plan, decision);
    assertStep(volume, after);
    expect(after.chain[0]?.replicas.map((r) => r.damage)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('goes back to before the first gap, and never shows a younger layer over one', () => {
    const chain = [sealed(1, ['n3']), sealed(2, ['n1']), sealed(3, ['n3'])];
    const volume = record({ chain, tail: fencing('n3', 5, unsealed(4, ['n3'])) });
    const plan = planLoss(volume, [holds('n3', [1, 3, 4])]);
    expect(plan.dropped.map((d) => d.epoch)).toEqual([2, 3, 4]);
  });

  test('gives up the snapshots that end at what is given up, also protected ones, and says so', () => {
    const chain = [sealed(1, ['n3']), sealed(2, ['n1'])];
    const mark = { sizeBytes: 2 ** 30, createdAt: '2026-01-01T10:00:00Z' };
    const snapshots = [
      { ...mark, id: 's1', name: 'monday', layer: 'layer-1' },
      { ...mark, id: 's2', name: 'tuesday', layer: 'layer-2', protected: true as const },
    ];
    const volume = record({ chain, snapshots, loose: ['layer-2'] });
    const plan = planLoss(volume, [holds('n3', [1])]);
    expect(describeLoss(volume, plan).lost).toContain('LOST with them: snapshot tuesday.');
    const after = acceptLoss(volume, plan, decision);
    assertRecord(after);
    assertStep(volume, after);
    expect(after.snapshots?.map((s) => s.name)).toEqual(['monday']);
    expect(after.loose).toBeUndefined();
  });

  test('is refused while clones go on from what would be given up', () => {
    const chain = [sealed(1, ['n3']), sealed(2, ['n1'])];
    const reached = [holds('n3', [1])];
    const above = record({ chain, clones: [{ volume: 'clone', layer: 'layer-2' }] });
    refuses(above, (v) => planLoss(v, reached), /go on from/, 'in-use');
    const below = record({ chain, clones: [{ volume: 'clone', layer: 'layer-1' }] });
    expect(planLoss(below, reached).dropped.map((d) => d.epoch)).toEqual([2]);
  });

  test('knows since when, where the record does', () => {
    const openedAt = '2026-01-01T10:00:00Z';
    const tail = fencing('n3', 5, { ...unsealed(4, ['n1']), openedAt });
    const volume = record({ chain: [sealed(1, ['n3'])], tail });
    const plan = planLoss(volume, [holds('n3', [1])]);
    expect(plan.dropped[0]?.since).toBe(openedAt);
    expect(describeLoss(volume, plan).lost[0]).toContain(
      'all writes acknowledged since epoch 4 began (it began at 2026-01-01T10:00:00Z)',
    );
  });

  test.each<[string, Volume, Reached[]]>([
    [
      'an idle volume with a clean copy',
      record({ chain: [sealed(1, ['n1'])] }),
      [holds('n1', [1])],
    ],
    ['a member that has not rebooted', lost, [holds('n2', [1, 2])]],
    ['all members, all rebooted', lost, [rebooted('n1', [1, 2]), rebooted('n2', [1, 2])]],
    ['its writer', lost, [holds('n1', [1, 2]), holds('n3', [1])]],
    ['an empty volume', record(), []],
  ])('is refused where nothing would be lost: %s can be reached', (_, volume, reached) => {
    refuses(
      volume,
      (v) => planLoss(v, reached),
      /no data of volume disk is out of reach/,
      'not-allowed',
    );
  });

  test('is refused where nothing is left to go back to', () => {
    refuses(lost, (v) => planLoss(v, []), /nothing of volume disk can be reached/, 'unavailable');
    const first = record({ tail: open(1, ['n1']) });
    refuses(first, (v) => planLoss(v, [holds('n2', [])]), /nothing of volume/, 'unavailable');
    // A copy that was only being filled is nothing, and a file of another pool is not that copy.
    const filling = record({ chain: [sealed(1, ['n1', 'n3+'])] });
    refuses(filling, (v) => planLoss(v, [holds('n3', [1])]), /nothing of/, 'unavailable');
    const other = holds('n3', [1], { pool: 'another' });
    refuses(lost, (v) => planLoss(v, [other]), /nothing of/, 'unavailable');
  });

  test('is refused while newer layers are in use', () => {
    const chain = [sealed(1, ['n1']), sealed(2, ['n2'])];
    const volume = record({ chain, tail: open(3, ['n1']) });
    refuses(
      volume,
      (v) => planLoss(v, [holds('n1', [1, 3])]),
      /newer layers are in use/,
      'unavailable',
    );
  });
});

describe('accepted', () => {
  test('what is given up is put aside, and what is believed decides', () => {
    const after = force(lost, [holds('n3', [1])]);
    expect(after).toMatchObject({ tail: { phase: 'idle' }, attachments: [] });
    expect(after.epoch).toBeGreaterThan(3);
    const [layer] = after.chain;
    expect(after.chain).toHaveLength(1);
    expect(layer).toMatchObject({ authority: 'n3', manifest: null, bytes: null });
    expect(layer?.replicas.map((r) => [r.node, r.state])).toEqual([
      ['n1', 'unverified'],
      ['n2', 'unverified'],
      ['n3', 'clean'],
    ]);
    expect(after.garbage).toMatchObject([
      { layer: 'layer-2', keep: true, holders: [{ node: 'n1' }, { node: 'n2' }] },
    ]);
    expect(after.losses).toEqual([
      {
        ...decision,
        believed: [{ layer: 'layer-1', epoch: 1, node: 'n3' }],
        dropped: [{ layer: 'layer-2', epoch: 2 }],
      },
    ]);
  });

  test('a rebooted member is sealed as authority, the others are in doubt', () => {
    const after = force(lost, [rebooted('n2', [1, 2])]);
    expect(after.chain[1]).toMatchObject({
      id: 'layer-2',
      authority: 'n2',
      replicas: [
        { node: 'n1', state: 'unverified' },
        { node: 'n2', state: 'clean' },
      ],
    });
    expect(after.garbage).toEqual([]);
  });

  test('an open layer is not ended before the writer is fenced out', () => {
    const plan = planLoss(lost, [holds('n3', [1])]);
    refuses(lost, (v) => acceptLoss(v, plan, decision), /n3 has not begun to take it over/);
    const other = beginFencing(lost, 'n2', []);
    refuses(other, (v) => acceptLoss(v, plan, decision), /n3 has not begun/);
  });

  test('what was prepared on top of what is given up goes with it', () => {
    const chain = [sealed(1, ['n3']), sealed(2, ['n1'])];
    const volume = record({ chain, tail: opening(unsealed(3, ['n3']), null) });
    const after = acceptLoss(volume, planLoss(volume, [holds('n3', [1, 3])]), decision);
    assertStep(volume, after);
    expect(after.tail.phase).toBe('idle');
    expect(after.garbage.map((g) => [g.layer, g.keep])).toEqual([
      ['layer-2', true],
      ['layer-3', undefined],
    ]);
  });

  test('a sealed layer alone can be believed while its volume is open', () => {
    const chain = [sealed(1, ['n2', 'n3?'])];
    const volume = record({ attachments: [attachment('n1')], chain, tail: open(2, ['n1']) });
    const reached = [holds('n1', [2]), holds('n3', [1])];
    const after = acceptLoss(volume, planLoss(volume, reached), decision);
    assertStep(volume, after);
    expect(after.tail).toEqual(volume.tail);
    expect(after.attachments).toEqual([]);
  });

  test('a merge under way is given up', () => {
    const chain = [sealed(1, ['n1', 'n3?']), sealed(2, ['n1', 'n3?'])];
    const merge = {
      layers: ['layer-1', 'layer-2'],
      into: 'merged',
      builder: 'n1',
      manifest: null,
      bytes: null,
      replicas: [{ node: 'n1', pool: poolOf('n1'), state: 'copying' as const }],
    };
    const volume = record({ chain, merge });
    const after = acceptLoss(volume, planLoss(volume, [holds('n3', [1, 2])]), decision);
    assertStep(volume, after);
    expect(after.merge).toBeNull();
    expect(after.garbage).toMatchObject([{ layer: 'merged', holders: [{ node: 'n1' }] }]);
  });
});

describe('the invariants', () => {
  const before = beginFencing(lost, 'n3', []);
  const after = force(lost, [holds('n3', [1])]);

  test.each<[string, Partial<Volume>]>([
    ['without a decision', { losses: [] }],
    ['by a decision about another layer', { losses: [{ ...after.losses![0]!, dropped: [] }] }],
  ])('refuse that layers vanish %s', (_, changes) => {
    assertRecord({ ...after, ...changes });
    expect(() => assertStep(before, { ...after, ...changes })).toThrow(/vanished/);
  });

  test('refuse that a copy is believed without a decision about it', () => {
    const losses = [{ ...after.losses![0]!, believed: [] }];
    expect(() => assertStep(before, { ...after, losses })).toThrow(/sealed layer 1 changed/);
  });

  test('refuse that a decision is forgotten, or used a second time', () => {
    const { losses: _, ...forgetful } = after;
    expect(() => assertStep(after, forgetful)).toThrow(/decision/);
    expect(() => assertStep(after, { ...after, chain: [] })).toThrow(/vanished/);
  });
});

test('only what was agreed to is done', () => {
  const plan = planLoss(lost, [holds('n3', [1])]);
  const agreed = { believed: [{ layer: 'layer-1', node: 'n3' }], dropped: ['layer-2'] };
  expect(isAccepted(plan, agreed)).toBe(true);
  expect(isAccepted(plan, { ...agreed, dropped: [] })).toBe(false);
  expect(isAccepted(plan, { ...agreed, believed: [{ layer: 'layer-1', node: 'n4' }] })).toBe(false);
});

test('the text names what is lost, who could bring it back, and a guest that may go on', () => {
  const { lost: text, before } = describeLoss(lost, planLoss(lost, [holds('n3', [1])]));
  expect(text.join(' ')).toMatch(/LOST: all writes acknowledged since epoch 2 began.*on n1 and n2/);
  expect(text.join(' ')).toMatch(/Epoch 1: the copy on n3 is believed, last written at 2026/);
  expect(before[0]).toContain('Better: bring n1 and n2 back');
  expect(before[1]).toContain('See that n1 is switched off');
  expect(before[2]).toContain('The attachments on n1 and n4 end');
});
