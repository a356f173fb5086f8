import type { Command } from 'commander';
import type { VolumeAnswer } from '../../api/schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { type Column, formatList, table } from '../format.ts';
import {
  type ListOptions,
  listQuery,
  metadataOption,
  moreText,
  pageOptions,
  wholeList,
} from '../list-options.ts';
import { formatBytes } from '../size.ts';

const columns: Column<VolumeAnswer>[] = [
  { title: 'NAME', value: (v) => v.name },
  { title: 'SIZE', value: (v) => formatBytes(v.sizeBytes), right: true },
  { title: 'POLICY', value: (v) => v.policy.name },
  { title: 'STATE', value: (v) => v.state },
  { title: 'SERVED BY', value: (v) => v.head ?? '-' },
  { title: 'ATTACHED ON', value: (v) => formatList(v.attachments.map(({ host }) => host)) },
  { title: 'LAYERS', value: (v) => String(v.layers), right: true },
  { title: 'ID', value: (v) => v.id },
];

const roleColumn: Column<VolumeAnswer> = { title: 'ROLE', value: (v) => v.role };

type Options = ListOptions & { all?: boolean; attached?: boolean; detached?: boolean };

/** `hscli volume list`. */
export function volumeListCommand(volume: Command, io: Io): void {
  const list = volume
    .command('list')
    .description('volumes by name: all, or those that match everything that is given')
    .option('--all', 'also images, and what was deleted and clones still need (bases)')
    .option('--name <name>', 'only with this name; * stands for any characters')
    .option('--policy <policy>', 'only with this policy')
    .option('--state <state>', 'only healthy, degraded, at-risk, unavailable or deleting')
    .option('--node <node>', 'only what is attached, served or has data on this node')
    .option('--attached', 'only what is attached somewhere')
    .option('--detached', 'only what is attached nowhere');
  pageOptions(metadataOption(list))
    .addHelpText(
      'after',
      "\nExamples:\n  hscli volume list\n  hscli volume list --all\n  hscli volume list --name 'db*' --state degraded\n" +
        '  hscli volume list --meta owner=anna --limit 50',
    )
    .action(async ({ attached, detached, ...options }: Options, command: Command) => {
      const context = contextOf(io, command);
      const query = listQuery({
        ...options,
        ...(attached === true ? { attached } : {}),
        ...(detached === true ? { attached: false } : {}),
      });
      const { entries, next } = await wholeList(query, async (part) => {
        const answer = await context.client.volumes(part);
        return { entries: answer.volumes, next: answer.next };
      });
      const shown = options.all === true ? [...columns, roleColumn] : columns;
      const empty =
        Object.keys(query).length === 0
          ? 'No volumes. Make one: hscli volume create --help'
          : 'No volumes match.';
      await context.print(
        { volumes: entries, ...(next === undefined ? {} : { next }) },
        async ({ volumes }) => (await table(volumes, shown, empty)) + moreText(next),
      );
    });
}
