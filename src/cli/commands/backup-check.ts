import type { Command } from 'commander';
import type { BackupVerificationAnswer } from '../../api/backup-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { contextOf, type Io } from '../context.ts';
import { formatTime } from '../format.ts';
import { withProgress } from '../progress.ts';
import { formatBytes } from '../size.ts';

type VerifyOptions = { volume?: string; full?: true };

/** `hscli backup verify` and `sweep`. */
export function backupCheckCommands(backup: Command, io: Io): void {
  backup
    .command('verify')
    .description('prove that backups can be restored, without restoring, or tell which cannot')
    .argument('<what>', 'TARGET, or TARGET/BACKUP')
    .option('--volume <volume>', 'only of this volume: name or id, also of one that is deleted')
    .option('--full', 'read and check all content; else only that everything is there')
    .addHelpText(
      'after',
      '\nEnds with status 9 when a backup is damaged. All others are whole. The next backup of the volume\n' +
        'mends what the volume still has. Waits for ever unless --timeout says how long.\n' +
        '\nExamples:\n  hscli backup verify nas\n  hscli backup verify nas/01932f5e --full',
    )
    .action(async (what: string, { volume, full }: VerifyOptions, command: Command) => {
      const context = contextOf(io, command, 0);
      const [target = '', id] = what.split('/');
      const describe = async () => {
        const { work } = await context.client.work().catch(() => ({ work: [] }));
        const bytes = work.find((w) => w.kind === 'backup' && w.from === target)?.doneBytes;
        return `Verifying ${what}: ${bytes === undefined ? '…' : formatBytes(bytes)}`;
      };
      const answer = await withProgress(context, describe, () =>
        context.client.backups.verify(target, {
          ...(id === undefined ? {} : { backup: id }),
          ...(volume === undefined ? {} : { volume }),
          ...(full === undefined ? {} : { full }),
        }),
      );
      await context.print(answer, verificationText);
      const { length } = answer.damaged;
      if (length === 0) return;
      throw new HyperscaleError('damaged', `${length} backups on ${target} are damaged`, {
        hint: 'Delete them when newer ones are whole; look at the medium that they are on.',
      });
    });
  backup
    .command('sweep')
    .description('free what no backup needs any more; what is done by itself after deletions')
    .argument('<target>', 'name of the target')
    .option('--volume <volume>', 'only of this volume: name or id, also of one that is deleted')
    .addHelpText(
      'after',
      '\nIt is safe beside anything else, on any node. On NFS it waits three minutes for other hosts.\n' +
        '\nExample:\n  hscli backup sweep nas',
    )
    .action(async (target: string, { volume }: { volume?: string }, command: Command) => {
      const context = contextOf(io, command, 0);
      const swept = await context.client.backups.sweep(
        target,
        volume === undefined ? {} : { volume },
      );
      await context.print(
        swept,
        (s) =>
          `${formatBytes(s.deletedBytes)} in ${s.deletedObjects} objects are free; ${s.keptObjects} objects are needed.\n`,
      );
    });
}

function verificationText({ backups, bytes, damaged, mode }: BackupVerificationAnswer): string {
  const read = mode === 'full' ? `, ${formatBytes(bytes)} were read` : '';
  const lines = damaged.flatMap(({ backup, ranges }) => [
    `${backup.id} of ${backup.volumeName}, ${formatTime(backup.at)}, has lost:`,
    ...ranges.slice(0, 20).map((r) => `  ${formatBytes(r.length)} at ${r.offset}: ${r.reason}`),
    ...(ranges.length > 20 ? [`  … and ${ranges.length - 20} more parts`] : []),
  ]);
  const whole = backups - damaged.length;
  return `${[...lines, `${whole} of ${backups} backups are whole${read}.`].join('\n')}\n`;
}
