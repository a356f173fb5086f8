import type { Command } from 'commander';
import type { NodeSpaceAnswer, VolumeSpaceAnswer } from '../../api/space-schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { type Column, table } from '../format.ts';
import { formatBytes } from '../size.ts';
import { clusterSpaceText, ratio, snapshotText } from '../space-text.ts';

const bytes = (title: string, of: (node: NodeSpaceAnswer) => number | null) => ({
  title,
  value: (node: NodeSpaceAnswer) => formatBytes(of(node)),
  right: true,
});

const nodeColumns: Column<NodeSpaceAnswer>[] = [
  {
    title: 'NODE',
    value: ({ node, up, measured }) => `${node}${up ? (measured ? '' : ' (silent)') : ' (down)'}`,
  },
  bytes('SIZE', (n) => n.totalBytes),
  bytes('FREE', (n) => n.freeBytes),
  bytes('LAYERS', (n) => n.layerBytes),
  bytes('GARBAGE', (n) => n.garbageBytes),
  bytes('OWN', (n) => (n.ownBytes === null ? null : n.ownBytes + (n.unknownBytes ?? 0))),
  bytes('RESERVE', (n) => n.reserveBytes),
  bytes('OTHERS', (n) => n.othersBytes),
  bytes('PROMISED', (n) => n.promisedBytes),
  { title: 'RATIO', value: (n) => ratio(n.promisedBytes, n.totalBytes), right: true },
];

const volumeColumns: Column<VolumeSpaceAnswer>[] = [
  { title: 'VOLUME', value: (v) => v.name },
  { title: 'SIZE', value: (v) => formatBytes(v.virtualBytes), right: true },
  { title: 'HELD', value: (v) => formatBytes(v.heldBytes), right: true },
  { title: 'SHARED', value: (v) => formatBytes(v.sharedBytes), right: true },
  { title: 'BY SNAPSHOTS', value: (v) => snapshotText(v.snapshotBytes), right: true },
  { title: 'GARBAGE', value: (v) => formatBytes(v.garbageBytes), right: true },
  { title: 'BELOW', value: (v) => formatBytes(v.belowBytes), right: true },
];

/** `hscli space`. */
export function spaceCommands(program: Command, io: Io): void {
  program
    .command('space')
    .description('what takes space on the nodes, and how much more can be written')
    .option('--volumes', 'also each volume, image and base; the largest first')
    .addHelpText(
      'after',
      '\nLAYERS belong to volumes, GARBAGE waits to be deleted, OWN are checksums and records, RESERVE\n' +
        'is kept back for these, OTHERS are files that are not ours. PROMISED is what the volumes\n' +
        'that are written there may grow to, and RATIO that against the SIZE of the pool.\n' +
        'HELD is measured on the disks, in all copies. BELOW belongs to what it was cloned from.\n' +
        '\nExamples:\n  hscli space\n  hscli space --volumes',
    )
    .action(async (options: { volumes?: true }, command: Command) => {
      const context = contextOf(io, command);
      const answer = await context.client.space(options.volumes === true);
      await context.print(answer, async (space) => {
        const nodes = await table(space.nodes, nodeColumns, 'No nodes.');
        const text = `${clusterSpaceText(space)}\n${nodes}`;
        if (space.volumes === undefined) return text;
        const largest = [...space.volumes].sort((a, b) => b.heldBytes - a.heldBytes);
        return `${text}\n${await table(largest, volumeColumns, 'No volumes.')}`;
      });
    });
}
