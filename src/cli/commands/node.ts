import type { Command } from 'commander';
import type { NodeAnswer } from '../../api/schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { drainCommands } from '../drain.ts';
import { type Column, fields, formatList, formatTime, table } from '../format.ts';
import { removeCommand } from '../retire.ts';
import { formatBytes } from '../size.ts';
import { nodeSpaceFields } from '../space-text.ts';
import { type NodeWithSpace, nodeWithSpace } from '../with-space.ts';

const columns: Column<NodeAnswer>[] = [
  { title: 'NAME', value: (node) => node.name },
  { title: 'STATE', value: state },
  { title: 'RACK', value: (node) => placeOf(node) ?? '-' },
  { title: 'ADDRESS', value: (node) => node.address },
  { title: 'FREE', value: (node) => poolBytes(node, node.freeBytes), right: true },
  { title: 'SIZE', value: (node) => poolBytes(node, node.totalBytes), right: true },
  { title: 'SERVES', value: (node) => String(node.heads.length), right: true },
  { title: 'COPIES', value: (node) => String(copies(node)), right: true },
  { title: 'VERSION', value: (node) => node.version ?? '-' },
];

export function nodeCommands(program: Command, io: Io): void {
  const node = program.command('node').description('the nodes of the cluster');
  node
    .command('list')
    .description('all nodes')
    .addHelpText('after', '\nExample:\n  hscli node list')
    .action(async (_options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.nodes(), ({ nodes }) =>
        table(nodes, columns, 'No nodes.'),
      );
    });
  node
    .command('show')
    .description('one node: its pool, what it serves and holds')
    .argument('<name>', 'name of the node')
    .addHelpText('after', '\nExample:\n  hscli node show n1')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await nodeWithSpace(context.client, name), nodeText);
    });
  drainCommands(node, io);
  removeCommand(node, io);
}

function state({ up, drain }: NodeAnswer): string {
  return `${up ? 'up' : 'down'}${drain === null ? '' : ', draining'}`;
}

/** `SITE/RACK`, or what of it is known. */
function placeOf({ labels }: NodeAnswer): string | null {
  const parts = [labels.site, labels.rack].filter((part) => part !== null);
  return parts.length === 0 ? null : parts.join('/');
}

function labelsText({ labels }: NodeAnswer): string {
  const { site, rack } = labels;
  const parts = [site === null ? null : `site ${site}`, rack === null ? null : `rack ${rack}`];
  return parts.filter((part) => part !== null).join(', ') || '-';
}

function copies(node: NodeAnswer): number {
  const { open, clean, unverified, copying } = node.copies;
  return open + clean + unverified + copying;
}

/** Of a node without a pool there is nothing to be said. */
function poolBytes({ pool }: NodeAnswer, bytes: number | null): string {
  return pool === null ? '-' : formatBytes(bytes);
}

function spaceFields(node: NodeWithSpace): ReturnType<typeof nodeSpaceFields> {
  if (node.pool === null) return [];
  const space = `${formatBytes(node.freeBytes)} free of ${formatBytes(node.totalBytes)}`;
  return [['Space', space], ...(node.space === null ? [] : nodeSpaceFields(node.space))];
}

function nodeText(node: NodeWithSpace): string {
  const { open, clean, unverified, copying } = node.copies;
  return fields([
    ['Name', node.name],
    ['State', state(node)],
    ['Labels', labelsText(node)],
    ['Address', `${node.address}, API port ${node.apiPort}, replica port ${node.replicaPort}`],
    ['Version', node.version ?? '-'],
    ['Pool', node.pool ?? 'none: it holds no copies'],
    ['Boot', node.boot ?? '-'],
    ...spaceFields(node),
    ['Registered', formatTime(node.registeredAt)],
    ['Serves', formatList(node.heads)],
    ['Attached', formatList(node.attached)],
    [
      'Copies',
      `${clean} clean, ${open} being written, ${unverified} to be compared, ${copying} being filled`,
    ],
  ]);
}
