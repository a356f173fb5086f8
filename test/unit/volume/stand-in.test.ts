/** A host without a pool: another node serves in its place, and nothing is ever placed on it. */
import { describe, expect, test } from 'vitest';
import { repairRests } from '../../../src/cluster/repair-policy.ts';
import { type Duty, type LocalView, nextDuty } from '../../../src/node/duties.ts';
import { assertRoomForPolicy } from '../../../src/node/room-for-volume.ts';
import { attach, detach } from '../../../src/volume/attach.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { limitsOf } from '../../../src/volume/limits.ts';
import { hasRoom, placeMembers } from '../../../src/volume/placement.ts';
import { policyNamed } from '../../../src/volume/policy.ts';
import { poolLevel, unrepairable } from '../../../src/volume/space-room.ts';
import { standIn, standInNode } from '../../../src/volume/stand-in.ts';
import type { NodeView, Volume } from '../../../src/volume/types.ts';
import { isOver, isViewOf, viewHost } from '../../../src/volume/view.ts';
import {
  attachment,
  bootOf,
  fencing,
  node,
  open,
  opening,
  poolOf,
  record,
  refuses,
  sealed,
  unsealed,
} from './fixtures.ts';

const nothing = { withoutPool: true, total: 0, free: 0 };
const nodes = [node('n1'), node('n2'), node('n3'), node('n4', nothing), node('n5', nothing)];
const none = new Set<string>();
const standsIn = (host: string, of: string) => ({ ...attachment(host), standInFor: of });
const chain = [sealed(1, ['n2', 'n3']), sealed(2, ['n3', 'n2?'])];

describe('placement', () => {
  test('puts nothing on a node without a pool, also when it is said to have room', () => {
    const lying = [...nodes.slice(0, 2), node('n4', { withoutPool: true, free: 999 })];
    const gold = record({ policy: policyNamed('Gold') });
    expect(placeMembers(gold, 'n1', lying, none).map((m) => m.node)).toEqual(['n1', 'n2']);
    const strange = record({ policy: policyNamed('Gold'), tail: open(1, ['n1', 'n4']) });
    expect(placeMembers(strange, 'n1', lying, none).map((m) => m.node)).toEqual(['n1', 'n2']);
    expect(lying.map(hasRoom)).toEqual([true, true, false]);
  });

  test('never makes it a writer', () => {
    refuses(record(), (v) => placeMembers(v, 'n4', nodes, none), /no pool/, 'not-allowed');
  });

  test('does not count it among nodes for copies, nor among those that are down', () => {
    const two = [node('n1'), node('n4', nothing), node('n5', nothing)];
    expect(() => assertRoomForPolicy(two, policyNamed('Bronze'))).not.toThrow();
    const silver = () => assertRoomForPolicy(two, policyNamed('Silver'));
    expect(silver).toThrow(expect.objectContaining({ code: 'not-enough-nodes' }));
    const down = { up: false, withoutPool: true };
    expect(repairRests([node('n1'), node('n2'), node('n4', down), node('n5', down)])).toBe(false);
    expect(repairRests([node('n1'), node('n2', { up: false }), ...nodes.slice(3)])).toBe(true);
  });

  test('does not take it for a full pool, or for one that copies could go to', () => {
    const limits = { warnPercent: 80, criticalPercent: 90 };
    expect(poolLevel(node('n4', nothing), 'ok', limits)).toBe('ok');
    const held = record({ chain: [sealed(1, ['n1', 'n2'])] });
    const few = [node('n1'), node('n2'), node('n4', nothing)];
    expect(unrepairable([held], few)).toEqual([]);
  });
});

describe('the node that serves in its place', () => {
  const chosen = (changed: NodeView[], avoid = none) =>
    standInNode(chain, [...changed, ...nodes.slice(3)], avoid)?.name;

  test.each<[string, NodeView[], string | undefined]>([
    ['has the most of it', [node('n1', { free: 900 }), node('n2'), node('n3')], 'n3'],
    ['is up', [node('n1'), node('n2'), node('n3', { up: false })], 'n2'],
    ['stays', [node('n1'), node('n2', { draining: true }), node('n3', { draining: true })], 'n1'],
    ['may leave when no other can', [node('n3', { draining: true })], 'n3'],
    ['has room', [node('n1', { free: 100 }), node('n3', { free: 79 })], undefined],
    [
      'may be full, when it has some of it',
      [node('n1', { free: 900 }), node('n3', { free: 100 })],
      'n3',
    ],
    ['has a pool', [], undefined],
  ])('%s', (_, changed, expected) => {
    expect(chosen(changed)).toBe(expected);
  });

  test('answers, and of equal ones has the most free space, or the first name', () => {
    expect(chosen([node('n2'), node('n3')], new Set(['n3']))).toBe('n2');
    const empty = (free: number) => standInNode([], [node('n2'), node('n1', { free })], none)?.name;
    expect([empty(400), empty(500), empty(600)]).toEqual(['n2', 'n1', 'n1']);
  });
});

describe('its attachment', () => {
  const idle = record({ chain, attachments: [attachment('n4')] });
  const step = (volume: Volume, host = 'n3') => {
    const next = standIn(volume, 'n4', attachment(host));
    assertStep(volume, next);
    return next;
  };

  test('comes behind the others and goes with that of the host', () => {
    const next = step(idle);
    expect(next.attachments).toEqual([attachment('n4'), standsIn('n3', 'n4')]);
    expect(detach(next, 'n4').attachments).toEqual([]);
  });

  test('takes the place of one before, and of a consumer that died with its boot', () => {
    const before = record({ attachments: [attachment('n4'), standsIn('n2', 'n4')] });
    expect(step(before).attachments).toEqual([attachment('n4'), standsIn('n3', 'n4')]);
    const dead = record({ attachments: [attachment('n3', 'earlier'), attachment('n4')] });
    expect(step(dead).attachments).toEqual([attachment('n4'), standsIn('n3', 'n4')]);
  });

  test('leaves a view that of its host alone', () => {
    const view = { of: 'other', snapshot: { id: 's', name: 's' } };
    const shown = step(record({ attachments: [attachment('n4')], view }));
    expect(viewHost(shown)).toBe('n4');
    const of = { volume: 'other', snapshot: 's' };
    expect(['n4', 'n3'].map((host) => isViewOf(shown, { ...of, host }))).toEqual([true, false]);
    refuses(shown, (v) => attach(v, attachment('n3')), /shown to one host/);
    expect(attach(shown, attachment('n4'))).toBe(shown);
    expect(isOver(shown, nodes, none)).toBe(false);
    const rebooted = nodes.map((n) => (n.name === 'n4' ? node('n4', { boot: 'later' }) : n));
    expect(isOver(shown, rebooted, none)).toBe(true);
  });

  test('is not needed beside a consumer there', () => {
    const both = record({ attachments: [attachment('n4'), attachment('n3')] });
    expect(step(both)).toBe(both);
  });

  test('is refused when the volume is not idle any more, or the host has gone', () => {
    const opened = record({ attachments: [attachment('n4')], tail: open(3, ['n1']) });
    refuses(opened, (v) => standIn(v, 'n4', attachment('n3')), /it is open/);
    refuses(record(), (v) => standIn(v, 'n4', attachment('n3')), /n4 has no attachment/);
  });
});

describe('duties', () => {
  const local: LocalView = {
    ...{ head: null, openLayerBurnt: false, proxy: null, listening: null, gateways: [] },
    ...{ failed: none, avoid: none, settled: true, leasesKnown: true },
  };
  const dutyOf = (volume: Volume, self: string, view: NodeView[] = nodes): Duty | null =>
    nextDuty({
      volume,
      self: { node: self, pool: poolOf(self), boot: bootOf(self) },
      nodes: view,
      local,
    });
  const down = (...names: string[]) =>
    nodes.map((n) => (names.includes(n.name) ? { ...n, lease: null } : n));
  const n4Only = record({ attachments: [attachment('n4')] });
  const stood = record({ attachments: [attachment('n4'), standsIn('n3', 'n4')] });

  test('a host without a pool lets another open what is idle, and never opens it', () => {
    expect(dutyOf(n4Only, 'n4')).toEqual({ kind: 'stand-in' });
    expect(dutyOf(n4Only, 'n3')).toBeNull();
    expect(dutyOf(stood, 'n4')).toBeNull();
    expect(dutyOf(stood, 'n3')).toEqual({ kind: 'open' });
  });

  test('one of several does so, and none when a host with a pool has it attached', () => {
    const two = record({ attachments: [attachment('n5'), attachment('n4')] });
    expect([dutyOf(two, 'n5'), dutyOf(two, 'n4')]).toEqual([{ kind: 'stand-in' }, null]);
    expect(dutyOf(two, 'n4', down('n5'))).toEqual({ kind: 'stand-in' });
    const mixed = record({ attachments: [attachment('n4'), attachment('n2')] });
    expect([dutyOf(mixed, 'n4'), dutyOf(mixed, 'n2')]).toEqual([null, { kind: 'open' }]);
    expect(dutyOf(mixed, 'n4', down('n2'))).toEqual({ kind: 'stand-in' });
  });

  test('it takes over from a dead writer, and then lets another open', () => {
    const written = { attachments: stood.attachments, tail: open(3, ['n3', 'n2']) };
    expect(dutyOf(record(written), 'n4', down('n3'))).toEqual({
      ...{ kind: 'begin-fencing', writer: 'n3', epoch: 3, revoke: ['n3'] },
    });
    const taking = record({ ...written, tail: fencing('n4', 4, unsealed(3, ['n3', 'n2'])) });
    expect(dutyOf(taking, 'n4', down('n3'))).toEqual({ kind: 'complete-fencing' });
    const begun = record({ ...written, tail: opening(unsealed(3, ['n3', 'n2']), null) });
    expect(dutyOf(begun, 'n4', down('n3'))).toMatchObject({ kind: 'abandon-opening' });
    expect(dutyOf(stood, 'n4', down('n3'))).toEqual({ kind: 'stand-in' });
  });

  test('who stands in leaves when it is drained and another can serve', () => {
    const written = record({ attachments: stood.attachments, tail: open(3, ['n3']) });
    const head = {
      ...{ volume: 'v', layer: 'layer-3', epoch: 3, sizeBytes: written.sizeBytes, pid: 7 },
      ...{ sealed: [], peers: [], sessions: ['session-n4', 'session-n3'] },
      limits: limitsOf(written),
    };
    const leaving = (view: NodeView[]) => {
      const self = { node: 'n3', pool: poolOf('n3'), boot: bootOf('n3') };
      const duty = nextDuty({ volume: written, self, nodes: view, local: { ...local, head } });
      return duty?.kind === 'drop-attachment';
    };
    const drained = nodes.map((n) => (n.name === 'n3' ? node('n3', { draining: true }) : n));
    expect(leaving(nodes)).toBe(false);
    expect(leaving(drained)).toBe(true);
    expect(leaving(drained.filter((n) => !['n1', 'n2'].includes(n.name)))).toBe(false);
    // In place of a host whose disk failed it stays.
    const withPool = drained.map((n) => (n.name === 'n4' ? node('n4') : n));
    expect(leaving(withPool)).toBe(false);
  });
});
