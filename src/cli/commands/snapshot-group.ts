import type { Command } from 'commander';
import { contextOf, type Io } from '../context.ts';

/** `hscli snapshot create-group`. */
export function snapshotGroupCommand(snapshot: Command, io: Io): void {
  snapshot
    .command('create-group')
    .description('keep what several volumes hold at one instant, while they are used')
    .argument('<volumes...>', 'names or ids of the volumes')
    .option('--name <name>', 'a name for the snapshot of each volume (default: the time)')
    .addHelpText(
      'after',
      '\nNo write to one of them is kept that followed a write to another that is not. Their writes\n' +
        'are held meanwhile; how long is said. It is done for all of them, or for none.\n' +
        '\nExamples:\n  hscli snapshot create-group db1 db1-log\n' +
        '  hscli snapshot create-group db1 db1-log --name before-upgrade',
    )
    .action(async (volumes: string[], options: { name?: string }, command: Command) => {
      const { client, print } = contextOf(io, command);
      await print(await client.createGroupSnapshot({ volumes, ...options }), (made) => {
        const [first] = made.snapshots;
        const many = `${made.snapshots.length} volumes`;
        return `Snapshot ${first?.name} of ${many} is kept; writes were held for ${made.heldMs} ms.\n`;
      });
    });
}
