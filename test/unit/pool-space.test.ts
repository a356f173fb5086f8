import { expect, test } from 'vitest';
import { clusterView } from '../../src/api/views.ts';
import { FakeService, nodeDown, nodeUp } from './api-fake-service.ts';

test('a pool that fills is told of from 85 % on; that of a node that is down is not known', () => {
  const service = new FakeService();
  const filled = (name: string, percent: number) => {
    const node = nodeUp(name);
    const { lease } = node;
    if (lease === null) throw new Error('it is up');
    return { ...node, lease: { ...lease, freeBytes: lease.totalBytes * (1 - percent / 100) } };
  };
  service.nodeList = [filled('n1', 84), filled('n2', 40)];
  expect(clusterView(service)).toMatchObject({ state: 'healthy', findings: [] });
  service.nodeList = [filled('n1', 86), filled('n2', 97), nodeDown('n3')];
  const { state, findings } = clusterView(service);
  expect(state).toBe('degraded');
  expect(findings.map((finding) => finding.what)).toEqual([
    'Node n3 is down.',
    'The pool of n1 is 86 % full: it takes no volumes that are new to it.',
    'The pool of n2 is 97 % full: it takes no volumes that are new to it.',
  ]);
});
