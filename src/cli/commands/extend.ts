import type { Command } from 'commander';
import type { ExtendedAnswer } from '../../api/extend-schemas.ts';
import { contextOf, type Io } from '../context.ts';
import { printable } from '../format.ts';
import { formatBytes, parseSize } from '../size.ts';

/** Rolls wait for peers, and guests are told one after another. */
const waitSeconds = 120;

/** `hscli volume extend`. */
export function extendCommand(volume: Command, io: Io): void {
  volume
    .command('extend')
    .description('make a volume larger while it is used; guests see it without a restart')
    .argument('<volume>', 'name or id of the volume')
    .requiredOption('--size <size>', 'its new size: 20G is 20 GiB; never below the present one')
    .addHelpText(
      'after',
      '\nThe same size again is no error. Partitions and file systems in the guest are grown there.\n' +
        'A guest that could not be told is named; its node tries again by itself, and so does the\n' +
        'same command.\n' +
        '\nExample:\n  hscli volume extend db1 --size 20G',
    )
    .action(async (name: string, options: { size: string }, command: Command) => {
      const context = contextOf(io, command, waitSeconds);
      const sizeBytes = parseSize(options.size);
      await context.print(await context.client.extend(name, sizeBytes), extendedText);
    });
}

export function extendedText({ volume, sizeBytes, consumers }: ExtendedAnswer): string {
  const lines = [`Volume ${volume.name} has ${formatBytes(sizeBytes)} (${sizeBytes} bytes) now.`];
  for (const { node, name, problem } of consumers) {
    const who = name === node ? node : `${printable(name)} on ${node}`;
    lines.push(
      problem === null
        ? `${who} shows it.`
        : `${who} does not show it yet: ${printable(problem)}. It is tried again.`,
    );
  }
  return `${lines.join('\n')}\n`;
}
