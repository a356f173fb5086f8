import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { EpisodeAnswer, VolumeBackupsAnswer } from '../../api/backup-schemas.ts';
import { HyperscaleError, isHyperscaleError } from '../../errors.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { planText } from '../episode-options.ts';
import { type Column, formatTime, table } from '../format.ts';
import { withProgress } from '../progress.ts';
import { formatBytes } from '../size.ts';

const lookMs = 300;

const episodeColumns: Column<EpisodeAnswer>[] = [
  { title: 'NAME', value: (e) => e.name },
  { title: 'TIME', value: (e) => formatTime(e.at) },
  { title: 'TARGET', value: (e) => e.target },
  { title: 'STATE', value: stateText },
  { title: 'BY', value: (e) => e.shipper ?? '-' },
  { title: 'ID', value: (e) => e.id },
];

type CreateOptions = { target?: string; name?: string; wait: boolean };

/** `hscli backup create`, `status` and `cancel`. */
export function backupCreateCommands(backup: Command, io: Io): void {
  backup
    .command('create')
    .description('back a volume up now, while it is used; only what changed is read')
    .argument('<source>', 'VOLUME, or VOLUME@SNAPSHOT; names or ids')
    .option('--target <target>', "where to (default: that of the volume's plan, or the only one)")
    .option('--name <name>', 'a name for the backup (default: the time)')
    .option('--no-wait', 'do not wait until it is written')
    .addHelpText(
      'after',
      '\nIt shows what was acknowledged before the call, like a disk after a power cut. It is written in\n' +
        'the background, goes on after failures, and Ctrl-C ends only the waiting. A backup that was asked\n' +
        'for stays until it is deleted.\n' +
        '\nExamples:\n  hscli backup create db1 --target nas\n  hscli backup create db1@before-upgrade --name upgrade',
    )
    .action(async (source: string, { wait, ...options }: CreateOptions, command: Command) => {
      const context = contextOf(io, command);
      const [volume = '', snapshot] = source.split('@');
      const begun = await context.client.backups.create(volume, {
        ...options,
        ...(snapshot === undefined ? {} : { snapshot }),
      });
      if (!wait) {
        return context.print(
          begun,
          (e) => `Backup ${e.name} waits to be written to ${e.target}.\n`,
        );
      }
      const written = await untilWritten(context, volume, begun);
      await context.print(written, (e) => `Backup ${e.name} of ${volume} is on ${e.target}.\n`);
    });
  backup
    .command('status')
    .description('the plan of a volume, what waits to be written, and what the next one builds on')
    .argument('<volume>', 'name or id of the volume')
    .addHelpText('after', '\nExample:\n  hscli backup status db1')
    .action(async (volume: string, _options, command: Command) => {
      const { client, print } = contextOf(io, command);
      await print(await client.backups.ofVolume(volume), statusText);
    });
  backup
    .command('cancel')
    .description('give up backups of a volume that are not written yet')
    .argument('<volume>', 'name or id of the volume')
    .argument('[episode]', 'id of one, from hscli backup status (default: all that were asked for)')
    .addHelpText(
      'after',
      '\nThe id of one that is written makes the volume forget that base: the next backup compares all of\n' +
        'it. The backup stays; see hscli backup delete.\n' +
        '\nExample:\n  hscli backup cancel db1',
    )
    .action(async (volume: string, episode: string | undefined, _options, command: Command) => {
      const { client, print } = contextOf(io, command);
      const { episodes } = await client.backups.ofVolume(volume);
      const waiting = episodes.filter((e) => e.backup === null);
      const asked = waiting.filter((e) => e.asked).map((e) => e.id);
      const wanted = episode === undefined ? asked : [episode];
      for (const id of wanted) await client.backups.cancel(volume, id);
      await print(
        { cancelled: wanted },
        () => `${wanted.length} backups of ${volume} are given up.\n`,
      );
    });
}

/** @throws `cancelled` when somebody gave it up */
async function untilWritten(
  context: Context,
  volume: string,
  begun: EpisodeAnswer,
): Promise<EpisodeAnswer> {
  const { client, io } = context;
  let now = begun;
  const describe = async () => `Backing up ${volume} to ${now.target}: ${stateText(now)}`;
  return await withProgress(context, describe, async () => {
    for (;;) {
      const { episodes } = await client.backups.ofVolume(volume);
      const found = episodes.find((e) => e.id === begun.id);
      if (found === undefined) break;
      if (found.backup !== null) return found;
      now = found;
      await delay(lookMs, null, { signal: io.signal });
    }
    // One of an older snapshot is not kept as a base; the target tells whether it was written.
    return { ...begun, backup: await backupOf(context, volume, begun) };
  });
}

async function backupOf({ client }: Context, volume: string, begun: EpisodeAnswer) {
  try {
    const { backups } = await client.backups.list(begun.target, { volume });
    const found = backups.find((b) => b.name === begun.name && b.at === begun.at);
    if (found !== undefined) return found.id;
  } catch (error) {
    // This node does not have the target, so it cannot look.
    if (isHyperscaleError(error, 'not-found')) return null;
    throw error;
  }
  throw new HyperscaleError('cancelled', `backup ${begun.name} of ${volume} was given up`);
}

function stateText({ backup, doneBytes, problem, totalBytes }: EpisodeAnswer): string {
  if (backup !== null) return 'written; the next one builds on it';
  if (totalBytes !== null && totalBytes > 0) {
    const percent = Math.floor((doneBytes / totalBytes) * 100);
    return `${percent} % of ${formatBytes(totalBytes)}`;
  }
  return problem === null ? 'waits' : `failed, is tried again: ${problem}`;
}

async function statusText({ episodes, plan }: VolumeBackupsAnswer): Promise<string> {
  const rows = await table(episodes, episodeColumns, 'Nothing waits to be written.');
  return `Plan: ${planText(plan)}\n${rows}`;
}
