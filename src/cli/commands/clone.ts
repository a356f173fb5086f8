import type { Command } from 'commander';
import { HyperscaleError } from '../../errors.ts';
import { contextOf, type Io } from '../context.ts';
import { givenLimits, type LimitOptions, limitOptions } from '../limit-options.ts';
import { formatBytes, parseSize } from '../size.ts';

/** `hscli volume clone`. */
export function cloneCommand(volume: Command, io: Io): void {
  const clone = volume
    .command('clone')
    .description('make a volume that begins with what another one, or a snapshot, holds; at once')
    .argument('<source>', 'VOLUME, or VOLUME@SNAPSHOT; names or ids; an image is fine too')
    .argument('<name>', 'a new name')
    .option('--size <size>', 'its size, not less than that of the source (default: the same)')
    .option('--policy <policy>', 'Gold, Silver or Bronze (default: as the source)');
  limitOptions(clone)
    .addHelpText(
      'after',
      '\nNothing is copied for it: both share what the source holds now, and what is written to one of\n' +
        'them later is not seen in the other. Either can be deleted at any time.\n' +
        '\nExamples:\n  hscli volume clone db1 db1-test\n' +
        '  hscli volume clone db1@before-upgrade db1-old --policy Bronze',
    )
    .action(
      async (
        text: string,
        name: string,
        options: { size?: string; policy?: string } & LimitOptions,
        command: Command,
      ) => {
        const context = contextOf(io, command);
        const made = await context.client.clone({
          name,
          from: parseSource(text),
          ...(options.size === undefined ? {} : { sizeBytes: parseSize(options.size) }),
          ...(options.policy === undefined ? {} : { policy: options.policy }),
          ...givenLimits(options),
        });
        await context.print(
          made,
          (v) =>
            `Volume ${v.name} (${formatBytes(v.sizeBytes)}, ${v.policy.name}) is ready, a clone of ${text}.\n`,
        );
      },
    );
}

/** Reads `VOLUME` or `VOLUME@SNAPSHOT`. @throws `bad-input` */
function parseSource(text: string): { volume: string; snapshot?: string } {
  const [volume = '', snapshot, ...more] = text.split('@');
  if (volume === '' || snapshot === '' || more.length > 0) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(text)} is no source of a clone`, {
      hint: 'Give VOLUME, or VOLUME@SNAPSHOT.',
    });
  }
  return snapshot === undefined ? { volume } : { volume, snapshot };
}
