import type { Command } from 'commander';
import type { SnapshotAnswer } from '../../api/snapshot-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { type Column, formatList, formatTime, table } from '../format.ts';
import { type ListOptions, listQuery, moreText, pageOptions, wholeList } from '../list-options.ts';
import { formatBytes } from '../size.ts';

const columns: Column<SnapshotAnswer>[] = [
  { title: 'NAME', value: (s) => s.name },
  { title: 'CREATED', value: (s) => formatTime(s.createdAt) },
  { title: 'SIZE', value: (s) => formatBytes(s.sizeBytes), right: true },
  { title: 'HELD', value: (s) => formatBytes(s.bytes), right: true },
  { title: 'PROTECTED', value: (s) => (s.protected ? 'yes' : 'no') },
  { title: 'CLONES', value: (s) => formatList(s.clones) },
  { title: 'ID', value: (s) => s.id },
];

const volumeColumn: Column<SnapshotAnswer> = { title: 'VOLUME', value: (s) => s.volume };

type Options = ListOptions & { allVolumes?: true; protected?: true };

/** `hscli snapshot list`. */
export function snapshotListCommand(snapshot: Command, io: Io): void {
  const list = snapshot
    .command('list')
    .description('the snapshots of a volume, oldest first, and what each of them holds')
    .argument('[volume]', 'name or id of the volume')
    .option('--all-volumes', 'those of all volumes')
    .option('--name <name>', 'only with this name; * stands for any characters')
    .option('--group <group>', 'only those that were made at one instant, with this group')
    .option('--protected', 'only those that cannot be deleted');
  pageOptions(list)
    .addHelpText(
      'after',
      '\nHELD is what one copy takes beyond the snapshot before it; - while that is not known.\n' +
        "\nExamples:\n  hscli snapshot list db1\n  hscli snapshot list --all-volumes --name 'before-*'",
    )
    .action(async (volume: string | undefined, options: Options) => {
      const context = contextOf(io, list);
      const { allVolumes, ...given } = options;
      const query = listQuery(given);
      if ((volume === undefined) !== (allVolumes === true)) {
        throw new HyperscaleError('bad-input', 'it is not clear whose snapshots are asked for', {
          hint: 'Give a volume, or --all-volumes.',
        });
      }
      const { entries, next } = await wholeList(query, async (part) => {
        const answer = await asked(context, volume, part);
        return { entries: answer.snapshots, next: answer.next };
      });
      const shown = volume === undefined ? [volumeColumn, ...columns] : columns;
      const plain = volume !== undefined && Object.keys(query).length === 0;
      const empty = plain
        ? `No snapshots. Make one: hscli snapshot create ${volume}`
        : 'No snapshots match.';
      await context.print(
        { snapshots: entries, ...(next === undefined ? {} : { next }) },
        async ({ snapshots }) => (await table(snapshots, shown, empty)) + moreText(next),
      );
    });
}

function asked({ client }: Context, volume: string | undefined, query: Record<string, string>) {
  return volume === undefined ? client.allSnapshots(query) : client.snapshots(volume, query);
}
