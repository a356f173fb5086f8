/** How a clone is depends on layers that are not its own. */
import { describe, expect, it } from 'vitest';
import { describeVolume } from '../../src/volume/health.ts';
import type { SeenLayer } from '../../src/volume/lineage.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { Replica, Volume } from '../../src/volume/types.ts';
import { nodeDown, nodeUp, replica, sealed, volumeRecord } from './api-fake-service.ts';

const nodes = (...down: string[]) =>
  ['n1', 'n2', 'n3'].map((n) => (down.includes(n) ? nodeDown(n) : nodeUp(n)));
const home = (changes: Partial<Volume> = {}) =>
  volumeRecord({ id: 'home', name: 'db1', policy: policyNamed('Bronze'), ...changes });
const below = (replicas: Replica[], of = home()): SeenLayer[] => [
  { home: of, layer: { ...sealed(1, replicas), id: 'shared' } },
];
const clone = volumeRecord({
  id: 'clone',
  name: 'c1',
  policy: policyNamed('Silver'),
  parent: { volume: 'home', layer: 'shared', sizeBytes: 2 ** 30, layers: 1 },
  chain: [sealed(2, [replica('n2', 'clean'), replica('n3', 'clean')])],
});

describe('a clone', () => {
  it('shows the layers below it, numbered from the oldest', () => {
    const report = describeVolume(
      clone,
      nodes(),
      [],
      below([replica('n1', 'clean'), replica('n2', 'clean')]),
    );
    expect(report).toMatchObject({ state: 'healthy', findings: [] });
    expect(report.layers.map(({ number, id, volume }) => [number, id, volume])).toEqual([
      [1, 'shared', 'home'],
      [2, 'layer-2', 'clone'],
    ]);
  });

  it('is unavailable without a live copy of a shared layer, however its own are', () => {
    const report = describeVolume(clone, nodes('n1'), [], below([replica('n1', 'clean')]));
    expect(report.state).toBe('unavailable');
    expect(report.findings[0]).toMatchObject({
      what: 'Layer 1 has no clean copy on a node that is up.',
      action: 'Bring n1 back. If that is not possible: hscli volume force db1',
    });
  });

  it('is at risk with one, where its own policy asks for two', () => {
    const one = below([replica('n1', 'clean')]);
    const report = describeVolume(clone, nodes(), [], one);
    expect(report.state).toBe('at-risk');
    expect(report.findings[0]?.what).toContain('(n1) of the 2 that Silver asks for');
    const bronze = { ...clone, policy: policyNamed('Bronze') };
    expect(describeVolume(bronze, nodes(), [], one).state).toBe('healthy');
  });

  it('tells what is done about a shared layer, and calls a base by its id', () => {
    const base = home({ role: 'base' });
    const copies = [replica('n1', 'clean'), replica('n2', 'copying')];
    const mend = {
      ...{ node: 'n2', volume: 'home', kind: 'mend' as const, layer: 'shared', from: 'n1' },
      ...{ doneBytes: 1, totalBytes: 2 },
    };
    expect(describeVolume(clone, nodes(), [mend], below(copies, base)).findings[0]).toMatchObject({
      why: 'n2 is being filled from n1, 50 %.',
      progress: 0.5,
    });
    const lost = describeVolume(clone, nodes('n1'), [], below([replica('n1', 'clean')], base));
    expect(lost.findings[0]?.action).toContain('hscli volume force home');
  });

  it('is unavailable where not all of what it shows is known', () => {
    const report = describeVolume(clone, nodes(), [], null);
    expect(report).toMatchObject({ state: 'unavailable' });
    expect(report.findings[0]?.why).toContain('home');
  });

  it('has something written as soon as what it goes on from has', () => {
    const fresh = { ...clone, chain: [] };
    const copies = [replica('n1', 'clean'), replica('n2', 'clean')];
    expect(describeVolume(fresh, nodes(), [], below(copies)).summary).toContain('Every layer has');
  });
});
