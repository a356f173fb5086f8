/** The control plane: how long calls of the API take, one after another, and the CLI. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { binDirectory } from '../lab/child.ts';
import type { LabCluster } from '../lab/cluster.ts';
import { percentile } from './statistics.ts';
import { headNode } from './volumes.ts';

const execute = promisify(execFile);

export type Timing = { operation: string; count: number; p50Ms: number; p99Ms: number };

export type ControlPlaneOptions = {
  cluster: LabCluster;
  /** Samples of each operation. */
  count: number;
  /** Of the volumes that are made. */
  sizeBytes: number;
  policy: string;
  say: (text: string) => void;
};

/**
 * Lets `count` volumes live one after another: create, attach, seal, detach, attach, detach,
 * delete; then asks for the list of volumes by the API and by `hscli`.
 */
export async function measureControlPlane(options: ControlPlaneOptions): Promise<Timing[]> {
  const { cluster, count, policy, sizeBytes, say } = options;
  const { api, socketPath } = cluster.node(headNode);
  const samples = new Map<string, number[]>();
  const timed = async (operation: string, call: () => Promise<unknown>): Promise<void> => {
    const start = performance.now();
    await call();
    const list = samples.get(operation) ?? [];
    list.push(performance.now() - start);
    samples.set(operation, list);
  };
  for (let i = 1; i <= count; i += 1) {
    const name = `control-${i}`;
    const at = `/v1/volumes/${name}`;
    const attachment = `${at}/attachments/${headNode}`;
    await timed('create', () => api.call('POST', '/v1/volumes', { name, policy, sizeBytes }));
    await timed('attach, first', () => api.call('POST', `${at}/attachments`, {}));
    await timed('seal', () => api.call('POST', `${at}/seal`));
    await timed('detach', () => api.call('DELETE', attachment));
    await timed('attach again', () => api.call('POST', `${at}/attachments`, {}));
    await api.call('DELETE', attachment);
    await timed('delete', () => api.call('DELETE', at));
    if (i % 10 === 0) say(`control plane: ${i} of ${count}`);
  }
  const env = { ...process.env, HYPERSCALE_SOCKET: socketPath };
  for (let i = 0; i < count; i += 1) {
    await timed('list volumes', () => api.call('GET', '/v1/volumes'));
    await timed('hscli volume list', () =>
      execute(join(binDirectory, 'hscli'), ['volume', 'list'], { env }),
    );
  }
  return [...samples].map(([operation, list]) => ({
    operation,
    count: list.length,
    p50Ms: percentile(list, 0.5),
    p99Ms: percentile(list, 0.99),
  }));
}
