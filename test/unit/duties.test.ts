/** What a node has to do next, for every state of the record, the nodes and what runs here. */
import { describe, expect, test } from 'vitest';
import type { HeadState } from '../../src/engine/engine.ts';
import { type Duty, type LocalView, nextDuty } from '../../src/node/duties.ts';
import { exportsStale, exportsWanted, type WantedExport } from '../../src/node/exports.ts';
import { limitsOf } from '../../src/volume/limits.ts';
import type { Tail, UnsealedLayer, Volume } from '../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  fencing,
  member,
  node,
  open,
  opening,
  poolOf,
  record,
  sealed,
  unsealed,
} from './volume/fixtures.ts';

type Where = {
  volume: Volume;
  self?: string;
  boot?: string;
  local?: Partial<LocalView>;
  /** Nodes that are down, or up in another boot than that of their memberships. */
  down?: string[];
  rebooted?: string[];
};

function duty({ volume, self = 'n1', boot, local = {}, down = [], rebooted = [] }: Where) {
  const nodes = ['n1', 'n2', 'n3', 'n4'].map((name) =>
    node(name, {
      up: !down.includes(name),
      boot: rebooted.includes(name) ? 'later' : bootOf(name),
    }),
  );
  const ownBoot = boot ?? (rebooted.includes(self) ? 'later' : bootOf(self));
  const nothing: LocalView = {
    head: null,
    openLayerBurnt: false,
    proxy: null,
    listening: null,
    gateways: [],
    failed: new Set(),
    avoid: new Set(),
    settled: true,
    leasesKnown: true,
  };
  return nextDuty({
    volume,
    self: { node: self, pool: poolOf(self), boot: ownBoot },
    nodes,
    local: { ...nothing, ...local },
  });
}

function head(layer: UnsealedLayer, changes: Partial<HeadState> = {}): HeadState {
  const peers = layer.members.slice(1).map((m) => m.node);
  const sessions = [`session-${layer.writer}`];
  const { id, epoch, sizeBytes } = layer;
  const state = { volume: 'v', layer: id, epoch, sizeBytes, pid: 7, sealed: [] };
  const limits = limitsOf(record({}));
  return { ...state, sessions, peers, limits, ...changes };
}

const l1 = unsealed(1, ['n1', 'n2']);
const l2 = unsealed(2, ['n1', 'n3']);
const n1Attached = { attachments: [attachment('n1')] };
const both = { attachments: [attachment('n1'), attachment('n2')] };
const opened = record({ ...n1Attached, tail: open(1, ['n1', 'n2']) });
const shared = record({ ...both, tail: open(1, ['n1', 'n2']) });
const running = { head: head(l1) };

describe('what belongs to another epoch or session goes first', () => {
  test.each<[string, Tail]>([
    ['idle', { phase: 'idle' }],
    ['deleting', { phase: 'deleting' }],
    ['fencing', fencing('n2', 2, l1)],
    ['open elsewhere', open(2, ['n2', 'n1'])],
    ['open in a later epoch here', open(2, ['n1', 'n3'])],
    ['opening elsewhere', opening(unsealed(2, ['n2']), null)],
    ['opening here, with another layer closing', opening(unsealed(3, ['n1']), l2)],
  ])('a head of another epoch is killed (%s)', (_, tail) => {
    expect(duty({ volume: record({ tail }), local: running })).toMatchObject({ kind: 'kill-head' });
  });

  test('the head of the layer that closes runs on until the roll is carried out', () => {
    const volume = record({ ...n1Attached, tail: opening(l2, l1) });
    expect(duty({ volume, local: running })).toEqual({ kind: 'complete-roll' });
  });

  test('a proxy of a revoked session, or to a node that does not write any more, is stopped', () => {
    const proxy = { session: 'session-n2', headNode: 'n1', epoch: 1 };
    const local = { proxy };
    expect(duty({ volume: shared, self: 'n2', local })).toBeNull();
    expect(duty({ volume: opened, self: 'n2', local })).toEqual({ kind: 'stop-proxy' });
    const stale = { proxy: { ...proxy, session: 'older' } };
    expect(duty({ volume: shared, self: 'n2', local: stale })).toEqual({ kind: 'stop-proxy' });
    const moved = record({ ...both, tail: open(2, ['n3', 'n1']) });
    expect(duty({ volume: moved, self: 'n2', local })).toEqual({ kind: 'stop-proxy' });
    const idle = record(both);
    expect(duty({ volume: idle, self: 'n2', local })).toBeNull();
  });

  test('the socket of a proxy that was never started goes with its session', () => {
    const local = { listening: 'session-n2', proxy: null };
    expect(duty({ volume: shared, self: 'n2', local })).toMatchObject({ kind: 'start-proxy' });
    for (const volume of [opened, record()]) {
      expect(duty({ volume, self: 'n2', local })).toEqual({ kind: 'stop-proxy' });
    }
  });

  test('a gateway is stopped when its session is revoked or the head is elsewhere, not when the head dies', () => {
    const gateways = ['session-n2'];
    const all = { head: head(l1, { sessions: ['session-n1', 'session-n2'] }), gateways };
    expect(duty({ volume: shared, local: all })).toBeNull();
    const stop: Duty = { kind: 'stop-gateway', session: 'session-n2' };
    expect(duty({ volume: opened, local: all })).toEqual(stop);
    expect(duty({ volume: record(both), self: 'n3', local: { gateways } })).toEqual(stop);
    const dead = { gateways, openLayerBurnt: true };
    expect(duty({ volume: shared, local: dead })).toEqual({ kind: 'roll', reason: 'head-died' });
    const rolling = record({ ...both, tail: opening(l2, l1) });
    expect(duty({ volume: rolling, local: { gateways } })).toEqual({ kind: 'complete-roll' });
    const revoked = record({ ...n1Attached, tail: opening(l2, l1) });
    expect(duty({ volume: revoked, local: { gateways } })).toEqual(stop);
  });

  test('an attachment of an earlier boot of this host is dropped', () => {
    const drop: Duty = { kind: 'drop-attachment', host: 'n1' };
    expect(duty({ volume: record(n1Attached), rebooted: ['n1'] })).toEqual(drop);
    expect(duty({ volume: opened, rebooted: ['n1'] })).toEqual(drop);
  });
});

describe('idle', () => {
  test('the first live host that has it attached opens it, nobody else', () => {
    const volume = record(both);
    expect(duty({ volume })).toEqual({ kind: 'open' });
    expect(duty({ volume, self: 'n2' })).toBeNull();
    expect(duty({ volume, self: 'n2', down: ['n1'] })).toEqual({ kind: 'open' });
    expect(duty({ volume, self: 'n2', rebooted: ['n1'] })).toEqual({ kind: 'open' });
    expect(duty({ volume, self: 'n3' })).toBeNull();
    expect(duty({ volume: record() })).toBeNull();
  });
});

describe('opening', () => {
  const first = opening(l1, null);

  test('the writer carries the roll out', () => {
    const volume = record({ ...n1Attached, tail: first });
    expect(duty({ volume })).toEqual({ kind: 'complete-roll' });
    expect(duty({ volume: record({ tail: opening(l2, l1) }) })).toEqual({ kind: 'complete-roll' });
  });

  test('a first epoch is given up when its host has detached or rebooted', () => {
    const give: Duty = { kind: 'abandon-opening', layer: 'layer-1' };
    expect(duty({ volume: record({ tail: first }) })).toEqual(give);
    const again = { attachments: [attachment('n1', 'later')] };
    expect(duty({ volume: record({ ...again, tail: first }), rebooted: ['n1'] })).toEqual(give);
  });

  test('a writer that rebooted in the middle of a roll fences itself first', () => {
    const volume = record({ tail: opening(l2, l1) });
    const fence: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 2, revoke: [] };
    expect(duty({ volume, rebooted: ['n1'] })).toEqual(fence);
  });

  test('also when only the layer that closes is of its earlier boot', () => {
    const next = { ...l2, members: [member('n1', 'later'), member('n3')] };
    const volume = record({ tail: opening(next, l1) });
    expect(duty({ volume, rebooted: ['n1'] })).toMatchObject({ kind: 'begin-fencing' });
  });

  test('others act only when the writer is down and the leases can be believed', () => {
    const unsure = { leasesKnown: false };
    const give: Duty = { kind: 'abandon-opening', layer: 'layer-1' };
    const begun = record({ ...both, tail: first });
    expect(duty({ volume: begun, self: 'n2' })).toBeNull();
    expect(duty({ volume: begun, self: 'n2', down: ['n1'], local: unsure })).toBeNull();
    expect(duty({ volume: begun, self: 'n2', down: ['n1'] })).toEqual(give);
    const fence: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 2, revoke: ['n1'] };
    const rolling = record({ ...both, tail: opening(l2, l1) });
    expect(duty({ volume: rolling, self: 'n2' })).toBeNull();
    expect(duty({ volume: rolling, self: 'n2', down: ['n1'], local: unsure })).toBeNull();
    expect(duty({ volume: rolling, self: 'n2', down: ['n1'] })).toEqual(fence);
    expect(duty({ volume: rolling, self: 'n3', down: ['n1'] })).toBeNull();
  });

  test('where nobody has it attached, a live member ends what a dead writer left', () => {
    const fence: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 2, revoke: ['n1'] };
    const rolling = record({ tail: opening(l2, l1) });
    expect(duty({ volume: rolling, self: 'n2', down: ['n1'] })).toEqual(fence);
    expect(duty({ volume: rolling, self: 'n3', down: ['n1'] })).toBeNull();
    const give: Duty = { kind: 'abandon-opening', layer: 'layer-1' };
    const begun = record({ tail: first });
    expect(duty({ volume: begun, self: 'n2', down: ['n1'] })).toEqual(give);
    expect(duty({ volume: begun, self: 'n3', down: ['n1'] })).toBeNull();
  });
});

describe('open, at the writer', () => {
  const rolls = (reason: string) => ({ kind: 'roll', reason });
  const silverHead = { ...running, settled: true };

  test('all is well: nothing to do', () => {
    expect(duty({ volume: opened, local: silverHead })).toBeNull();
  });

  test('a writer that rebooted since fences itself, attached or not', () => {
    const fence: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 1, revoke: [] };
    const volume = record({ tail: open(1, ['n1', 'n2']) });
    expect(duty({ volume, rebooted: ['n1'] })).toEqual(fence);
    const again = record({ ...opened, attachments: [attachment('n1', 'later')] });
    expect(duty({ volume: again, rebooted: ['n1'] })).toEqual(fence);
  });

  test('without a consumer here it is closed, even while others have it attached', () => {
    const elsewhere = record({ ...opened, attachments: [attachment('n2')] });
    expect(duty({ volume: elsewhere, local: running })).toEqual({ kind: 'close' });
    const nobody = record({ tail: open(1, ['n1', 'n2']) });
    expect(duty({ volume: nobody })).toEqual({ kind: 'close' });
  });

  test('a confirmed epoch gets its head once; after that a dead head means a new epoch', () => {
    expect(duty({ volume: opened })).toEqual({ kind: 'start-head' });
    expect(duty({ volume: opened, local: { openLayerBurnt: true } })).toEqual(rolls('head-died'));
  });

  test('a failed member is evicted before sessions are changed', () => {
    const failed = new Set(['n2']);
    const local = { ...running, settled: false };
    expect(duty({ volume: opened, local: { ...local, failed } })).toEqual(rolls('evict'));
    expect(duty({ volume: shared, local: { ...local, failed } })).toEqual(rolls('evict'));
    const others = { failed: new Set(['n4']) };
    expect(duty({ volume: opened, local: { ...local, ...others } })).toBeNull();
  });

  test('a member that rebooted is evicted although its replica server answers again', () => {
    const local = { ...running, settled: false };
    expect(duty({ volume: opened, local, rebooted: ['n2'] })).toEqual(rolls('evict'));
    expect(duty({ volume: opened, local, down: ['n2'] })).toBeNull();
    expect(duty({ volume: opened, local, rebooted: ['n3'] })).toBeNull();
  });

  test('a failed source of a sealed layer is left when another live one has it', () => {
    const reads = {
      head: head(unsealed(2, ['n1', 'n2']), {
        sealed: [{ layer: 'layer-1', from: 'n3', fromBoot: 'boot-n3' }],
      }),
    };
    const at = (copies: string[], from = reads) => ({
      volume: record({ ...n1Attached, chain: [sealed(1, copies)], tail: open(2, ['n1', 'n2']) }),
      local: { ...from, failed: new Set(['n3']) },
    });
    expect(duty(at(['n3', 'n4']))).toEqual(rolls('evict'));
    expect(duty(at(['n3', 'n4?']))).toBeNull();
    expect(duty({ ...at(['n3', 'n4']), down: ['n4'] })).toBeNull();
  });

  test('a source that rebooted is connected to anew', () => {
    const volume = record({
      ...n1Attached,
      chain: [sealed(1, ['n3'])],
      tail: open(2, ['n1', 'n2']),
    });
    const source = { layer: 'layer-1', from: 'n3', fromBoot: 'boot-n3' };
    const local = { head: head(unsealed(2, ['n1', 'n2']), { sealed: [source] }) };
    expect(duty({ volume, local })).toBeNull();
    expect(duty({ volume, local, rebooted: ['n3'] })).toEqual(rolls('evict'));
    const failed = new Set(['n3']);
    expect(duty({ volume, local: { ...local, failed }, rebooted: ['n3'] })).toBeNull();
    expect(duty({ volume, local, rebooted: ['n2'] })).toEqual(rolls('evict'));
  });

  test('sessions are made to match the attachments', () => {
    const extra = { head: head(l1, { sessions: ['session-n1', 'old'] }) };
    const sync = { kind: 'sync-sessions' };
    expect(duty({ volume: opened, local: extra })).toEqual({ ...sync, add: [], remove: ['old'] });
    const added = { ...sync, add: ['session-n2'], remove: [] };
    expect(duty({ volume: shared, local: running })).toEqual(added);
  });

  test('a writer whose own disk fails lets a member serve that has all, with a consumer if there is one', () => {
    const failed = new Set(['n1']);
    const to = (name: string) => ({ kind: 'hand-over', to: member(name) });
    expect(duty({ volume: opened, local: { ...running, failed } })).toEqual(to('n2'));
    // Whether its head lives or not, and in the middle of a roll.
    const dead = { openLayerBurnt: true, failed };
    expect(duty({ volume: opened, local: dead })).toEqual(to('n2'));
    const rolling = record({ ...n1Attached, tail: opening(unsealed(2, ['n1', 'n3']), l1) });
    expect(duty({ volume: rolling, local: dead })).toEqual(to('n2'));
    const gold = record({
      attachments: [attachment('n1'), attachment('n3')],
      tail: open(1, ['n1', 'n2', 'n3']),
    });
    expect(duty({ volume: gold, local: dead })).toEqual(to('n3'));
    expect(duty({ volume: gold, local: dead, down: ['n3'] })).toEqual(to('n2'));
    expect(duty({ volume: gold, local: dead, rebooted: ['n3'] })).toEqual(to('n2'));
    const both = { ...dead, failed: new Set(['n1', 'n3']) };
    expect(duty({ volume: gold, local: both })).toEqual(to('n2'));
  });

  test('a writer whose own disk fails goes on where nobody else has all, or may be believed up', () => {
    const failed = new Set(['n1']);
    const alone = record({ ...n1Attached, tail: open(1, ['n1']) });
    const local = { head: head(unsealed(1, ['n1'])), failed };
    expect(duty({ volume: alone, local })).toMatchObject({ kind: 'roll', reason: 'add-member' });
    const kept = { ...running, failed, settled: false };
    expect(duty({ volume: opened, local: kept, down: ['n2'] })).toBeNull();
    expect(duty({ volume: opened, local: { ...kept, leasesKnown: false } })).toBeNull();
    // Nothing was served yet: whoever has what is sealed may begin.
    const chain = [sealed(1, ['n1?', 'n3'])];
    const first = record({ ...n1Attached, chain, tail: opening(l2, null) });
    expect(duty({ volume: first, local: { failed } })).toEqual({
      kind: 'hand-over',
      to: member('n3'),
    });
    const fresh = record({ ...n1Attached, tail: opening(l2, null) });
    expect(duty({ volume: fresh, local: { failed } })).toEqual({ kind: 'complete-roll' });
  });

  test('a head lets through what the record says, and is told when it does not', () => {
    const limits = { ...limitsOf(opened), maxIops: 77 };
    const changed = { ...opened, limits };
    expect(duty({ volume: changed, local: running })).toEqual({ kind: 'set-limits', limits });
    expect(duty({ volume: changed, local: { head: head(l1, { limits }) } })).toBeNull();
    // Also while it has not served for long, and the other way round.
    const back = { head: head(l1, { limits }), settled: false };
    expect(duty({ volume: opened, local: back })).toMatchObject({ kind: 'set-limits' });
    // What is wrong with its members is more urgent.
    const failed = { ...running, failed: new Set(['n2']) };
    expect(duty({ volume: changed, local: failed })).toEqual({ kind: 'roll', reason: 'evict' });
  });

  test('changes that can wait wait until the head has settled', () => {
    const alone = record({ ...n1Attached, tail: open(1, ['n1']) });
    const local = { head: head(unsealed(1, ['n1'])) };
    expect(duty({ volume: alone, local: { ...local, settled: false } })).toBeNull();
    expect(duty({ volume: alone, local })).toEqual(rolls('add-member'));
  });

  test('a short write set is filled only from nodes that are ready', () => {
    const alone = record({ ...n1Attached, tail: open(1, ['n1']) });
    const local = { head: head(unsealed(1, ['n1'])) };
    expect(duty({ volume: alone, local, down: ['n2', 'n3', 'n4'] })).toBeNull();
    const not = { avoid: new Set(['n2']), failed: new Set(['n3']) };
    expect(duty({ volume: alone, local: { ...local, ...not }, down: ['n4'] })).toBeNull();
  });

  test('reads become local when all of them can; a merged chain is taken up', () => {
    const layer = unsealed(3, ['n1', 'n2']);
    const reading = (from: (string | null)[], first = 'layer-1') => ({
      head: head(layer, {
        sealed: [
          { layer: first, from: from[0] ?? null, fromBoot: null },
          { layer: 'layer-2', from: from[1] ?? null, fromBoot: null },
        ],
      }),
    });
    const at = (one: string[], two: string[]) =>
      record({
        ...n1Attached,
        chain: [sealed(1, one), sealed(2, two)],
        tail: open(3, ['n1', 'n2']),
      });
    const here = at(['n1', 'n2'], ['n1', 'n2']);
    expect(duty({ volume: here, local: reading(['n2', null]) })).toEqual(rolls('localise'));
    expect(duty({ volume: here, local: reading([null, null]) })).toBeNull();
    const half = at(['n1', 'n2'], ['n2', 'n1+']);
    expect(duty({ volume: half, local: reading(['n2', 'n2']) })).toBeNull();
    expect(duty({ volume: here, local: reading([null, null], 'gone') })).toEqual(rolls('merged'));
  });
});

describe('open, at a consumer elsewhere', () => {
  const taken: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 1, revoke: ['n1'] };

  test('its endpoint is forwarded to the head, once', () => {
    const forward = { headNode: 'n1', session: 'session-n2', epoch: 1 };
    const proxy: Duty = { kind: 'start-proxy', ...forward };
    expect(duty({ volume: shared, self: 'n2' })).toEqual(proxy);
    expect(duty({ volume: shared, self: 'n2', local: { proxy: forward } })).toBeNull();
    expect(duty({ volume: opened, self: 'n2' })).toBeNull();
  });

  test('its gateway is asked for again in each epoch, and by a daemon that did not see it', () => {
    const earlier = { headNode: 'n1', session: 'session-n2', epoch: null };
    const again: Duty = { kind: 'start-proxy', ...earlier, epoch: 1 };
    expect(duty({ volume: shared, self: 'n2', local: { proxy: earlier } })).toEqual(again);
    const later = record({ ...both, tail: open(2, ['n1', 'n2']) });
    const known = { proxy: { ...earlier, epoch: 1 } };
    expect(duty({ volume: later, self: 'n2', local: known })).toEqual({ ...again, epoch: 2 });
  });

  test('a writer that is down or rebooted is taken over by the first live host', () => {
    expect(duty({ volume: shared, self: 'n2', down: ['n1'] })).toEqual(taken);
    expect(duty({ volume: shared, self: 'n2', rebooted: ['n1'] })).toEqual(taken);
    const three = record({ ...shared, attachments: ['n1', 'n3', 'n2'].map((n) => attachment(n)) });
    expect(duty({ volume: three, self: 'n2', down: ['n1'] })).toBeNull();
    expect(duty({ volume: three, self: 'n2', down: ['n1', 'n3'] })).toEqual(taken);
    const unsure = { leasesKnown: false };
    expect(duty({ volume: shared, self: 'n2', down: ['n1'], local: unsure })).toBeNull();
  });

  test('without any consumer the first live member ends the epoch; with a dead one nobody does', () => {
    const nobody = record({ tail: open(1, ['n1', 'n2', 'n3']) });
    expect(duty({ volume: nobody, self: 'n2', down: ['n1'] })).toEqual(taken);
    expect(duty({ volume: nobody, self: 'n3', down: ['n1'] })).toBeNull();
    expect(duty({ volume: nobody, self: 'n3', down: ['n1', 'n2'] })).toEqual(taken);
    expect(duty({ volume: opened, self: 'n2', down: ['n1'] })).toBeNull();
  });
});

describe('fencing and deleting', () => {
  test('the taker completes; another steps in only when the taker is down', () => {
    const volume = record({
      attachments: [attachment('n2'), attachment('n3')],
      tail: fencing('n2', 2, l1),
    });
    expect(duty({ volume, self: 'n2' })).toEqual({ kind: 'complete-fencing' });
    expect(duty({ volume, self: 'n3' })).toBeNull();
    const again: Duty = { kind: 'begin-fencing', writer: 'n1', epoch: 2, revoke: [] };
    expect(duty({ volume, self: 'n3', down: ['n2'] })).toEqual(again);
    expect(duty({ volume, self: 'n4', down: ['n2'] })).toBeNull();
    const unsure = { leasesKnown: false };
    expect(duty({ volume, self: 'n3', down: ['n2'], local: unsure })).toBeNull();
  });

  test('a tombstone has no duties', () => {
    expect(duty({ volume: record({ tail: { phase: 'deleting' } }) })).toBeNull();
  });
});

describe('exports', () => {
  const self = (name: string, boot = bootOf(name)) => ({ node: name, pool: poolOf(name), boot });
  const key = (epoch: number) => ({ volume: 'v', layer: `layer-${epoch}`, epoch });
  const writable = (epoch: number): WantedExport => ({ key: key(epoch), writable: true });
  const readable = (epoch: number): WantedExport => ({ key: key(epoch), writable: false });

  test('a member exports the layer being written, in the boot and pool of its membership', () => {
    expect(exportsWanted(opened, self('n2'))).toEqual([writable(1)]);
    expect(exportsWanted(opened, self('n2', 'later'))).toEqual([]);
    expect(exportsWanted(opened, { ...self('n2'), pool: 'new disk' })).toEqual([]);
    expect(exportsWanted(opened, self('n1'))).toEqual([]);
    expect(exportsWanted(opened, self('n3'))).toEqual([]);
  });

  test('nothing is wanted unless it is open', () => {
    for (const tail of [{ phase: 'idle' } as const, opening(l2, l1), fencing('n2', 2, l1)]) {
      expect(exportsWanted(record({ chain: [], tail }), self('n2'))).toEqual([]);
    }
  });

  test('clean sealed layers are exported where the writer has no clean copy of its own', () => {
    const chain = [sealed(1, ['n3', 'n2']), sealed(2, ['n1', 'n3']), sealed(3, ['n2', 'n3?'])];
    const volume = record({ chain, tail: open(4, ['n1', 'n2']) });
    expect(exportsWanted(volume, self('n3'))).toEqual([readable(1)]);
    expect(exportsWanted(volume, self('n2'))).toEqual([writable(4), readable(1), readable(3)]);
  });

  test.each<[string, Volume, number[]]>([
    ['open', opened, [1]],
    ['opening', record({ tail: opening(l2, l1) }), [1, 2]],
    ['opening first', record({ tail: opening(l2, null) }), [2]],
    ['fencing', record({ tail: fencing('n2', 2, l1) }), [1]],
    ['idle', record({ epoch: 2 }), []],
    ['deleting', record({ epoch: 2, tail: { phase: 'deleting' } }), []],
  ])('what nobody may write any more is stale (%s)', (_, volume, kept) => {
    const now = record({ ...volume, epoch: 2 });
    const stale = exportsStale(now, [writable(1), writable(2)], self('n2')).map((e) => e.key.epoch);
    expect(stale).toEqual([1, 2].filter((epoch) => !kept.includes(epoch)));
  });

  test('an export of an epoch that this record does not know yet is left alone', () => {
    expect(exportsStale(record({ epoch: 2 }), [writable(3)], self('n2'))).toEqual([]);
  });

  test('what a head may still read stays until the volume is idle or deleted', () => {
    expect(exportsStale(opened, [readable(9)], self('n2'))).toEqual([]);
    expect(exportsStale(record({ tail: fencing('n2', 2, l1) }), [readable(9)], self('n2'))).toEqual(
      [],
    );
    expect(exportsStale(record(), [readable(9)], self('n2'))).toEqual([readable(9)]);
    const deleted = record({ tail: { phase: 'deleting' } });
    expect(exportsStale(deleted, [readable(9)], self('n2'))).toEqual([readable(9)]);
  });
});
