import type { Command } from 'commander';
import type { ClusterAnswer } from '../../api/schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { fields } from '../format.ts';
import { formatBytes } from '../size.ts';

export function clusterCommands(program: Command, io: Io): void {
  const cluster = program.command('cluster').description('the cluster as a whole');
  cluster
    .command('status')
    .description('whether everything is well, and what is not')
    .addHelpText('after', '\nExamples:\n  hscli cluster status\n  hscli cluster status --json')
    .action(async (_options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.cluster(), statusText);
    });
}

function statusText(cluster: ClusterAnswer): string {
  const { nodes, volumes, totalBytes, freeBytes, findings } = cluster;
  const bad = (['unavailable', 'at-risk', 'degraded', 'deleting'] as const)
    .filter((state) => volumes[state] > 0)
    .map((state) => `${volumes[state]} ${state}`);
  const head = fields([
    ['State', cluster.state],
    ['Nodes', `${nodes.up} of ${nodes.total} up`],
    ['Volumes', [`${volumes.total}`, ...bad].join(', ')],
    ['Space', `${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`],
    ['Store', cluster.storeConnected ? 'reachable' : 'not reachable'],
    ['Asked', `${cluster.node}, version ${cluster.version}`],
  ]);
  const list = findings.map(({ what, action }) => `\n- ${what}\n  ${action}`).join('');
  return list === '' ? head : `${head}${list}\n`;
}
