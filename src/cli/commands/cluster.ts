import type { Command } from 'commander';
import type { ClusterAnswer } from '../../api/schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { fields } from '../format.ts';
import { fsckCommand } from '../fsck.ts';
import { type RecoverOptions, recoverCluster } from '../recover.ts';
import { recoveryText } from '../recover-text.ts';
import { formatBytes } from '../size.ts';

/** All nodes are asked, those that do not answer until their time is up, and more than once. */
const recoverSeconds = 300;

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
  recoverCommand(cluster, io);
  fsckCommand(cluster, io);
}

function storeText({ quarantine, storeConnected }: ClusterAnswer): string {
  if (quarantine !== null) return 'not believed, this node is in quarantine';
  return storeConnected ? 'reachable' : 'not reachable';
}

function recoverCommand(cluster: Command, io: Io): void {
  cluster
    .command('recover')
    .description('rebuild the records of all volumes from the pools when etcd was lost or set back')
    .option('--dry-run', 'only show what would be done')
    .option('--accept-data-loss', 'go on although acknowledged writes may be lost by it')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nRun it on one node, with all other daemons running and an etcd that answers, empty or\n' +
        'restored. Guests run on. It may be run again at any time. See docs/recovery.md.\n' +
        '\nExamples:\n  hscli cluster recover --dry-run\n  hscli cluster recover',
    )
    .action(async (options: RecoverOptions, command: Command) => {
      const context = contextOf(io, command, recoverSeconds);
      await context.print(await recoverCluster(context, options), recoveryText);
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
    ['Store', storeText(cluster)],
    ['Asked', `${cluster.node}, version ${cluster.version}`],
  ]);
  const list = findings.map(({ what, action }) => `\n- ${what}\n  ${action}`).join('');
  return list === '' ? head : `${head}${list}\n`;
}
