import { fileURLToPath } from 'node:url';
import type { LabCluster } from '../lab/cluster.ts';
import { volumeName } from './scene.ts';

/** How to use a cluster that was left up, as commands to copy. */
export function keptText(cluster: LabCluster): string {
  const file = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
  const hscli = file('bin/hscli');
  const [first] = cluster.nodes;
  const socket = first?.socketPath ?? '';
  return [
    'The cluster is still up. Try:',
    `  export HYPERSCALE_SOCKET=${socket}`,
    `  ${hscli} cluster status`,
    `  ${hscli} volume show ${volumeName}`,
    `  ${hscli} volume attach ${volumeName}`,
    `  ${hscli} events --follow`,
    'The same against each node:',
    ...cluster.nodes.map((node) => `  ${hscli} --socket ${node.socketPath} node show ${node.name}`),
    "A node's processes, addresses and log:",
    ...cluster.nodes.map(
      ({ namespace, logFile }) =>
        `  ip netns pids ${namespace} | xargs -r ps -fp; ip -n ${namespace} address; less ${logFile}`,
    ),
    'To end it all:',
    `  ${process.execPath} ${file('lab/down.ts')} ${cluster.directory}`,
  ].join('\n');
}
