import type { Command } from 'commander';
import type { BackupAnswer, BackupDetailAnswer, TargetAnswer } from '../../api/backup-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { askForName } from '../confirm.ts';
import { contextOf, type Io } from '../context.ts';
import { type Column, fields, formatList, formatTime, table } from '../format.ts';
import { type ListOptions, listQuery, moreText, pageOptions } from '../list-options.ts';
import { formatBytes, parseSize } from '../size.ts';
import { backupCheckCommands } from './backup-check.ts';
import { backupCreateCommands } from './backup-create.ts';
import { restoreCommand } from './restore.ts';

const targetColumns: Column<TargetAnswer>[] = [
  { title: 'TARGET', value: (t) => t.name },
  { title: 'REPOSITORY', value: ({ repository }) => repository?.id ?? '-' },
  {
    title: 'ENCRYPTED',
    value: ({ repository }) => (repository === null ? '-' : repository.encrypted ? 'yes' : 'no'),
  },
  { title: 'NODES', value: (t) => formatList(t.nodes) },
  { title: 'PROBLEM', value: (t) => t.problem ?? '-' },
];

const columns: Column<BackupAnswer>[] = [
  { title: 'BACKUP', value: (b) => b.id },
  { title: 'VOLUME', value: (b) => b.volumeName },
  { title: 'TIME', value: (b) => formatTime(b.at) },
  { title: 'NAME', value: (b) => b.name },
  { title: 'SIZE', value: (b) => formatBytes(b.sizeBytes), right: true },
  { title: 'ADDED', value: (b) => formatBytes(b.storedBytes), right: true },
];

/** `hscli backup`. */
export function backupCommands(program: Command, io: Io): void {
  const backup = program
    .command('backup')
    .description('backups: points in time of volumes, kept outside of the cluster');
  backupCreateCommands(backup, io);
  listCommand(backup, io);
  backup
    .command('show')
    .description('one backup')
    .argument('<backup>', 'TARGET/BACKUP: its id, or the first eight digits or more')
    .addHelpText('after', '\nExample:\n  hscli backup show nas/01932f5e')
    .action(async (which: string, _options, command: Command) => {
      const { client, print } = contextOf(io, command);
      const { backup: id, target } = backupNamed(which);
      await print(await client.backups.show(target, id), backupText);
    });
  restoreCommand(backup, io);
  deleteCommand(backup, io);
  backupCheckCommands(backup, io);
  targetCommands(backup, io);
}

function listCommand(backup: Command, io: Io): void {
  const list = backup
    .command('list')
    .description('the backups on a target, by volume and time')
    .requiredOption('--target <target>', 'see hscli backup targets')
    .option('--volume <volume>', 'only of this volume: name or id, also of one that is deleted');
  pageOptions(list)
    .addHelpText(
      'after',
      '\nADDED is what the backup took on the target beyond those before it.\n' +
        '\nExample:\n  hscli backup list --target nas --volume db1',
    )
    .action(async ({ target, ...options }: ListOptions & { target: string }) => {
      const { client, print } = contextOf(io, list);
      await print(
        await client.backups.list(target, listQuery(options)),
        async ({ backups, next }) =>
          (await table(backups, columns, `There is no such backup on ${target}.`)) + moreText(next),
      );
    });
}

function deleteCommand(backup: Command, io: Io): void {
  backup
    .command('delete')
    .description('delete a backup; others lose nothing, and what only it needed becomes free')
    .argument('<backup>', 'TARGET/BACKUP: its id, or the first eight digits or more')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  hscli backup delete nas/01932f5e --yes')
    .action(async (which: string, options: { yes?: true }, command: Command) => {
      const context = contextOf(io, command);
      const named = backupNamed(which);
      const found = await context.client.backups.show(named.target, named.backup);
      if (options.yes !== true) {
        await askForName(context, {
          name: found.volumeName,
          question: `The backup of ${found.volumeName} of ${formatTime(found.at)} will be gone. Type the volume's name to delete it:`,
          nobody: 'nobody can be asked whether to delete the backup',
          hint: 'Say --yes to delete it without being asked.',
          refused: 'that was not its name; nothing was deleted',
        });
      }
      const gone = await context.client.backups.remove(named.target, found.id);
      await context.print(gone, (b) => `Backup ${b.name} of ${b.volumeName} is deleted.\n`);
    });
}

function targetCommands(backup: Command, io: Io): void {
  backup
    .command('targets')
    .description('where backups can go, and which nodes can write there')
    .addHelpText(
      'after',
      '\nTargets are set in the configuration of nodes (backup.targets). REPOSITORY is - where this\n' +
        'node does not have the target.\n\nExample:\n  hscli backup targets',
    )
    .action(async (_options, command: Command) => {
      const { client, print } = contextOf(io, command);
      await print(await client.backups.targets(), ({ targets }) =>
        table(targets, targetColumns, 'No node has a backup target in its configuration.'),
      );
    });
  backup
    .command('init')
    .description('make the repository of a target, once; with a keyFile it is encrypted')
    .argument('<target>', 'name of the target')
    .option('--chunk-size <size>', 'what is stored as one object, a power of two (1M)')
    .addHelpText(
      'after',
      '\nWhoever loses the key loses the backups: keep a copy of it elsewhere.\n' +
        '\nExample:\n  hscli backup init nas',
    )
    .action(async (target: string, options: { chunkSize?: string }, command: Command) => {
      const { client, print } = contextOf(io, command);
      const { chunkSize } = options;
      const wishes = chunkSize === undefined ? {} : { chunkBytes: parseSize(chunkSize) };
      await print(
        await client.backups.createRepository(target, wishes),
        ({ name, repository }) =>
          `Target ${name} has repository ${repository?.id}, ${repository?.encrypted === true ? 'encrypted' : 'not encrypted'}.\n`,
      );
    });
}

/** @throws `bad-input` unless it is TARGET/BACKUP */
export function backupNamed(text: string): { target: string; backup: string } {
  const [target = '', backup = '', ...more] = text.split('/');
  if (target !== '' && backup !== '' && more.length === 0) return { target, backup };
  throw new HyperscaleError('bad-input', `${JSON.stringify(text)} is no backup`, {
    hint: 'Give TARGET/BACKUP, such as nas/01932f5e.',
  });
}

function backupText(backup: BackupDetailAnswer): string {
  return fields([
    ['Backup', backup.id],
    ['Name', backup.name],
    ['Target', backup.target],
    ['Volume', `${backup.volumeName} (${backup.volume})`],
    ['Time', formatTime(backup.at)],
    ['Size', formatBytes(backup.sizeBytes)],
    ['Added', formatBytes(backup.storedBytes)],
    ['Built on', backup.parent ?? '-'],
    ['Labels', formatList(Object.entries(backup.labels).map(([key, value]) => `${key}=${value}`))],
  ]);
}
