import type { Command } from 'commander';
import type { RestoreWishes } from '../../api/restore-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { contextOf, type Io } from '../context.ts';
import { madePart, withProgress } from '../progress.ts';
import { formatBytes } from '../size.ts';

type Options = { name: string; policy?: string; volume?: string; at?: string; stream?: true };

/** `hscli backup restore`. */
export function restoreCommand(backup: Command, io: Io): void {
  backup
    .command('restore')
    .description('make a new volume of a backup')
    .argument('<from>', 'TARGET/BACKUP; or TARGET, with --volume')
    .requiredOption('--name <name>', 'of the new volume')
    .option('--policy <policy>', 'Gold, Silver or Bronze (default: Silver)')
    .option('--volume <volume>', 'the newest backup of this volume (name or id)')
    .option('--at <time>', 'with --volume: the newest one of this time or before')
    .option('--stream', 'at once: it is used while its content comes from the backup')
    .addHelpText(
      'after',
      '\nBACKUP is an id from hscli backup list, or its first eight digits or more. TIME is as in\n' +
        '2026-11-23T04:00:00Z; without a time zone it is local time.\n' +
        'Ctrl-C, or deleting the volume, ends it, and nothing is left. Waits for ever unless --timeout\n' +
        'says how long.\n' +
        '\nWith --stream the volume is there at once. What of it is not here yet is read from the backup:\n' +
        'slower, and not at all while the target is away. hscli volume show tells how far it is.\n' +
        '\nExamples:\n  hscli backup restore nas/01932f5e --name db1-restored\n' +
        '  hscli backup restore nas --volume db1 --at 2026-11-23T04:00:00Z --name db1-morning',
    )
    .action(async (from: string, options: Options, command: Command) => {
      const wishes = wishesOf(from, options);
      const context = contextOf(io, command, 0);
      const describe = async () => {
        const part = await madePart(context, 'restore', wishes.name);
        return `Restoring ${wishes.name}${part === null ? ' …' : `: ${Math.floor(part * 100)} %`}`;
      };
      const made = await withProgress(context, describe, () => context.client.restore(wishes));
      await context.print(
        made,
        (v) =>
          `Volume ${v.name} (${formatBytes(v.sizeBytes)}, ${v.policy.name}) is ready${options.stream === true ? '; its content follows' : ''}.\n`,
      );
    });
}

/** @throws `bad-input` */
function wishesOf(from: string, { at, name, policy, stream, volume }: Options): RestoreWishes {
  const [target = '', backup, ...more] = from.split('/');
  if (target === '' || backup === '' || more.length > 0) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(from)} is no backup`, {
      hint: 'Give TARGET/BACKUP, or TARGET and --volume.',
    });
  }
  if ((backup === undefined) === (volume === undefined) || (at !== undefined && !volume)) {
    throw new HyperscaleError('bad-input', 'it is not clear which backup is meant', {
      hint: 'Give TARGET/BACKUP; or TARGET and --volume, and perhaps --at.',
    });
  }
  return {
    name,
    target,
    ...(policy === undefined ? {} : { policy }),
    ...(backup === undefined ? {} : { backup }),
    ...(volume === undefined ? {} : { volume }),
    ...(at === undefined ? {} : { at: timeIn(at) }),
    ...(stream === true ? { stream } : {}),
  };
}

/** @throws `bad-input` */
function timeIn(text: string): string {
  const ms = Date.parse(text);
  if (!Number.isNaN(ms)) return new Date(ms).toISOString();
  throw new HyperscaleError('bad-input', `${JSON.stringify(text)} is no time`, {
    hint: 'Give one as in 2026-11-23T04:00:00Z.',
  });
}
