import { describe, expect, it } from 'vitest';
import { describeVolume, type WorkView } from '../../src/volume/health.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { NodeView, Tail, Volume } from '../../src/volume/types.ts';
import {
  attachment,
  nodeDown,
  nodeUp,
  replica,
  sealed,
  unsealed,
  volumeRecord,
} from './api-fake-service.ts';

const all = ['n1', 'n2', 'n3'];
const up = all.map(nodeUp);
const three = (epoch: number) =>
  sealed(
    epoch,
    all.map((node) => replica(node, 'clean')),
  );
const open = (epoch: number, members: string[]): Tail => ({
  phase: 'open',
  reason: 'attach',
  layer: unsealed(epoch, members),
});
const report = (changes: Partial<Volume>, nodes: NodeView[] = up, work: WorkView[] = []) =>
  describeVolume(volumeRecord(changes), nodes, work);
const mend = (layer: string, more: Partial<WorkView> = {}): WorkView => ({
  node: 'n2',
  volume: volumeRecord().id,
  kind: 'mend',
  layer,
  from: 'n1',
  doneBytes: 43,
  totalBytes: 100,
  ...more,
});
/** These nodes are down. */
const without = (...down: string[]) => all.map((n) => (down.includes(n) ? nodeDown(n) : nodeUp(n)));
const attached = { attachments: [attachment('n1')] };

describe('a healthy volume', () => {
  it('is one that nothing was written to', () => {
    expect(report({})).toMatchObject({
      state: 'healthy',
      summary: 'Nothing written yet.',
      head: null,
      copiesWanted: 3,
      layers: [],
      findings: [],
    });
  });

  it('has all copies of all layers, and a full write set', () => {
    const made = report({ ...attached, chain: [three(1), three(2)], tail: open(3, all) });
    expect(made).toMatchObject({ state: 'healthy', head: 'n1', findings: [], work: [] });
    expect(made.summary).toBe('Every layer has the 3 copies that Gold asks for.');
    expect(made.layers.map(({ number, state }) => [number, state])).toEqual([
      [1, 'sealed'],
      [2, 'sealed'],
      [3, 'open'],
    ]);
  });

  it('may have more copies than it needs, and one of them gone', () => {
    const policy = policyNamed('Silver');
    expect(report({ policy, chain: [three(1)] }, without('n3')).state).toBe('healthy');
  });

  it('is merged and cleaned up without being degraded', () => {
    const made = report({
      chain: [three(1), three(2)],
      merge: {
        layers: ['layer-1', 'layer-2'],
        into: 'm',
        builder: 'n1',
        manifest: null,
        bytes: null,
        replicas: [],
      },
      garbage: [
        { layer: 'g', epoch: 0, afterEpoch: 1, holders: [{ node: 'n2', pool: 'pool-n2' }] },
      ],
    });
    expect(made.state).toBe('healthy');
    expect(made.work.map(({ what }) => what)).toEqual([
      '2 layers are merged by n1.',
      'Old files wait to be deleted on n2.',
    ]);
  });
});

describe('a volume at risk', () => {
  it('has a layer with one clean copy; the report says how the others are mended', () => {
    const chain = [
      three(1),
      three(2),
      sealed(3, [replica('n1', 'clean'), replica('n2', 'unverified'), replica('n3', 'copying')]),
    ];
    const made = report({ chain }, up, [
      mend('layer-3', { node: 'n2' }),
      mend('layer-3', { node: 'n3', doneBytes: 10 }),
      mend('layer-3', { volume: 'another' }),
    ]);
    expect(made.state).toBe('at-risk');
    expect(made.findings).toEqual([
      {
        severity: 'at-risk',
        what: 'Layer 3 has 1 clean copy (n1) of the 3 that Gold asks for.',
        why: "n2's copy is being compared with n1's, 43 %; n3 is being filled from n1, 10 %.",
        action: 'Nothing to do: the copies are being made good.',
        progress: 53 / 200,
      },
    ]);
    expect(made.work).toHaveLength(2);
  });

  it('writes to one node only', () => {
    const made = report({ ...attached, tail: open(1, ['n1']) }, without('n2', 'n3'));
    expect(made.state).toBe('at-risk');
    expect(made.findings[0]).toMatchObject({
      what: 'New data is written to 1 node (n1) of the 3 that Gold asks for.',
      why: 'Only 1 node is up.',
    });
  });

  it('counts no copy on a node that came back with another pool', () => {
    const policy = policyNamed('Silver');
    const chain = [sealed(1, [replica('n1', 'clean'), replica('n2', 'clean')])];
    const other = { ...nodeUp('n2') };
    other.lease = other.lease && { ...other.lease, pool: 'new' };
    const made = report({ policy, chain }, [nodeUp('n1'), other]);
    expect(made.state).toBe('at-risk');
    expect(made.findings[0]?.why).toBe('n2 came back with another pool.');
  });

  it('is not one that asks for one copy and has it', () => {
    const policy = policyNamed('Bronze');
    expect(report({ policy, chain: [sealed(1, [replica('n1', 'clean')])] }).state).toBe('healthy');
  });
});

describe('a degraded volume', () => {
  it('lacks copies, and says what it waits for', () => {
    const chain = [sealed(1, [replica('n1', 'clean'), replica('n2', 'clean')])];
    const made = report({ chain });
    expect(made.state).toBe('degraded');
    expect(made.findings[0]).toMatchObject({
      why: '1 copy has no node yet.',
      action: 'Nothing to do: this is mended by itself.',
    });
    const gone = report({ chain: [three(1)] }, without('n3'));
    expect(gone.findings[0]).toMatchObject({
      why: 'n3 is down.',
      action: 'Bring n3 back, or add nodes: the policy needs 3 and 2 are up.',
    });
  });

  it('has a member of the write set that is down or was rebooted', () => {
    const tail = open(1, all);
    expect(report({ ...attached, tail }, without('n3'))).toMatchObject({ state: 'degraded' });
    const rebooted = nodeUp('n2');
    rebooted.lease = rebooted.lease && { ...rebooted.lease, boot: 'later' };
    const made = report({ ...attached, tail }, [nodeUp('n1'), rebooted, nodeUp('n3')]);
    expect(made.state).toBe('degraded');
    expect(made.findings[0]?.why).toBe('n2 was rebooted.');
    expect(made.layers[0]?.copies.map((copy) => copy.up)).toEqual([true, false, true]);
  });

  it('is being opened or taken over', () => {
    const opening: Tail = {
      phase: 'opening',
      reason: 'evict',
      next: unsealed(2, ['n1', 'n2', 'n3']),
      closing: unsealed(1, all),
    };
    const made = report({ ...attached, tail: opening });
    expect(made).toMatchObject({ state: 'degraded', head: null });
    expect(made.layers.map((layer) => layer.state)).toEqual(['closing', 'opening']);
    expect(made.findings[0]?.why).toBe('A node is taken out of the write set.');
    const fencing: Tail = {
      phase: 'fencing',
      taker: 'n2',
      epoch: 2,
      unsealed: unsealed(1, all),
    };
    expect(report({ tail: fencing }, without('n1')).state).toBe('degraded');
  });

  it('is attached on a host that is gone', () => {
    const attachments = [attachment('n1'), attachment('n4')];
    const made = report({ attachments, tail: open(1, all) }, [...up, nodeDown('n4')]);
    expect(made.state).toBe('degraded');
    expect(made.findings[0]?.action).toMatch('hscli volume detach db1 --node n4');
  });
});

describe('an unavailable volume', () => {
  it('has a layer without a clean copy on a live node', () => {
    const chain = [three(1), sealed(2, [replica('n1', 'clean'), replica('n2', 'unverified')])];
    const made = report({ chain }, without('n1'));
    expect(made.state).toBe('unavailable');
    expect(made.findings[0]).toMatchObject({
      what: 'Layer 2 has no clean copy on a node that is up.',
      action: 'Bring n1 back. If that is not possible: hscli volume force db1',
    });
    expect(made.summary).toBe('Layer 2 has no clean copy on a node that is up; 1 more finding.');
  });

  it('is attached while the node that writes it is down', () => {
    const made = report({ ...attached, tail: open(1, all) }, without('n1'));
    expect(made.state).toBe('unavailable');
    expect(made.findings).toHaveLength(1);
    expect(made.findings[0]).toMatchObject({
      what: 'n1, which writes the volume, is down.',
      action: expect.stringMatching('hscli volume attach db1 --node'),
    });
    expect(report({ tail: open(1, all) }, without('n1')).state).toBe('degraded');
  });

  it('cannot be taken over because nobody who surely has all writes is up', () => {
    const tail: Tail = {
      phase: 'fencing',
      taker: 'n3',
      epoch: 2,
      unsealed: unsealed(1, ['n1', 'n2']),
    };
    const made = report({ tail }, without('n1', 'n2'));
    expect(made.state).toBe('unavailable');
    expect(made.findings[0]?.action).toBe(
      'Bring n1 and n2 back. If that is not possible: hscli volume force db1',
    );
    const rebooted = (name: string): NodeView => {
      const node = nodeUp(name);
      return { ...node, lease: node.lease && { ...node.lease, boot: 'later' } };
    };
    const one = report({ tail }, [nodeDown('n1'), rebooted('n2'), nodeUp('n3')]);
    expect(one.state).toBe('unavailable');
    const both = report({ tail }, [rebooted('n1'), rebooted('n2'), nodeUp('n3')]);
    expect(both.state).toBe('degraded');
    expect(report({ tail }, without('n3')).findings[0]?.what).toMatch('n3, which was taking');
  });
});

it('says where files of a deleted volume remain', () => {
  const holders = [
    { node: 'n1', pool: 'pool-n1' },
    { node: 'n2', pool: 'pool-n2' },
  ];
  const garbage = [{ layer: 'layer-1', epoch: 1, afterEpoch: 1, holders }];
  const made = report({ tail: { phase: 'deleting' }, garbage }, without('n2'));
  expect(made).toMatchObject({ state: 'deleting', findings: [] });
  expect(made.summary).toBe('The volume is being deleted; files remain on n1 and n2.');
  expect(made.work[0]?.what).toBe('Old files wait to be deleted on n1 and n2 (down).');
});
