/** The volumes of the benchmark, on a real cluster. */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LabCluster } from '../lab/cluster.ts';
import { commandLine } from '../lab/processes.ts';
import type { EndpointAnswer, VolumeDetailAnswer } from '../src/api/schemas.ts';
import { HyperscaleError } from '../src/errors.ts';
import type { Target } from './target.ts';

const liftLimitProgram = fileURLToPath(new URL('lift-limit.ts', import.meta.url));
/** In place of a policy's limit: more than anything here can do. */
const liftedIops = 10_000_000;
/** The port of the etcd that the first node manages. */
const etcdPort = 7482;
const goneTimeoutMs = 60_000;

/** The node on which everything is attached; it does not manage etcd. */
export const headNode = 'n1';
export const etcdNode = 'n3';
export const nodeNames = ['n1', 'n2', 'n3'];

export type VolumeWish = {
  name: string;
  policy: string;
  sizeBytes: number;
  /** False: the policy's IOPS limit holds. */
  liftLimit: boolean;
};

/** Makes a volume, attaches it on `headNode` and checks that it has all its copies. */
export async function attachedVolume(cluster: LabCluster, wish: VolumeWish): Promise<Target> {
  const { api } = cluster.node(headNode);
  const { name, policy, sizeBytes } = wish;
  const made = await api.call<{ id: string }>('POST', '/v1/volumes', { name, policy, sizeBytes });
  if (wish.liftLimit) {
    const etcd = `http://${cluster.node(etcdNode).address}:${etcdPort}`;
    const program = [process.execPath, liftLimitProgram, etcd, made.id, String(liftedIops)];
    await cluster.node(etcdNode).exec(program);
  }
  const at = `/v1/volumes/${name}`;
  const endpoint = await api.call<EndpointAnswer>('POST', `${at}/attachments`, {});
  const volume = await api.call<VolumeDetailAnswer>('GET', at);
  const copies = volume.report.layers.at(-1)?.copies.length;
  if (volume.state !== 'healthy' || copies !== volume.policy.copies) {
    throw new HyperscaleError('internal', `${name} is ${volume.state}: ${volume.summary}`);
  }
  const servers = [
    ...cluster.node(headNode).pids('head').filter(names(made.id)),
    ...cluster.nodes.flatMap((node) => node.pids('replica-server')),
  ];
  return { name, uri: endpoint.uri, servers: () => servers };
}

/** Detaches and deletes a volume; resolves once its files are gone as well. */
export async function removeVolume(cluster: LabCluster, name: string): Promise<void> {
  const { api } = cluster.node(headNode);
  const at = `/v1/volumes/${name}`;
  await api.call('DELETE', `${at}/attachments/${headNode}`);
  await api.call('DELETE', at);
  const deadline = performance.now() + goneTimeoutMs;
  while ((await api.request('GET', at)).status !== 404) {
    if (performance.now() > deadline) {
      throw new HyperscaleError('timeout', `volume ${name} is still there`);
    }
    await delay(50);
  }
}

function names(volume: string): (pid: number) => boolean {
  return (pid) => commandLine(pid).some((argument) => argument.includes(volume));
}
