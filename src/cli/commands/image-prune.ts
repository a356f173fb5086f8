import type { Command } from 'commander';
import { HyperscaleError, isHyperscaleError } from '../../errors.ts';
import { imagesToPrune, type PruneBounds } from '../../image/prune.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { formatTime } from '../format.ts';
import { listQuery, wholeList } from '../list-options.ts';
import { formatBytes, parseSize } from '../size.ts';

type Options = {
  name?: string;
  maxCount?: string;
  maxSize?: string;
  keep?: string[];
  yes?: true;
};

/** `hscli image prune`. */
export function imagePruneCommand(image: Command, io: Io): void {
  image
    .command('prune')
    .description('delete the images that were not used for the longest time, beyond a bound')
    .option('--max-count <count>', 'at most so many stay')
    .option('--max-size <size>', 'what one copy of each takes is together at most this: 500G')
    .option('--name <name>', 'only those with this name; * stands for any characters')
    .option('--keep <image...>', 'names or ids of images that stay in any case')
    .option('--yes', 'delete them; without it they are only shown')
    .addHelpText('after', "\nExample:\n  hscli image prune --name 'glance-*' --max-count 50 --yes")
    .action(async (options: Options, command: Command) => {
      const context = contextOf(io, command);
      const bounds = boundsIn(options);
      const gone = imagesToPrune(await imagesNamed(context, options.name), bounds);
      const isDone = options.yes === true;
      if (isDone) for (const { id } of gone) await deleted(context, id);
      const freed = gone.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
      await context.print(
        { deleted: isDone, images: gone.map(({ id, name, bytes }) => ({ id, name, bytes })) },
        () => {
          const lines = gone.map(
            ({ name, bytes, usedAt, createdAt }) =>
              `${name} (${formatBytes(bytes)}), last used ${formatTime(usedAt ?? createdAt)}`,
          );
          return `${[...lines, summary(gone.length, freed, isDone)].join('\n')}\n`;
        },
      );
    });
}

function summary(count: number, bytes: number, isDone: boolean): string {
  if (count === 0) return 'No image is beyond the bounds.';
  const what = `${count === 1 ? '1 image' : `${count} images`} of ${formatBytes(bytes)} a copy`;
  return isDone ? `Deleted ${what}.` : `Would delete ${what}; say --yes to do it.`;
}

function boundsIn({ maxCount, maxSize, keep }: Options): PruneBounds {
  if (maxCount === undefined && maxSize === undefined) {
    throw new HyperscaleError('bad-input', 'there is no bound beyond which images go', {
      hint: 'Give --max-count, --max-size, or both.',
    });
  }
  if (maxCount !== undefined && !/^\d{1,9}$/.test(maxCount)) {
    throw new HyperscaleError('bad-input', `--max-count ${maxCount} is no number of images`, {
      hint: 'Give a whole number, 0 or more.',
    });
  }
  return {
    maxCount: maxCount === undefined ? null : Number(maxCount),
    maxBytes: maxSize === undefined ? null : parseSize(maxSize),
    keep: keep ?? [],
  };
}

async function imagesNamed(context: Context, name: string | undefined) {
  const { entries } = await wholeList(listQuery({ name }), async (part) => {
    const answer = await context.client.images(part);
    return { entries: answer.images, next: answer.next };
  });
  return entries;
}

/** Somebody else may prune at the same time. */
async function deleted({ client }: Context, id: string): Promise<void> {
  try {
    await client.deleteImage(id);
  } catch (error) {
    if (!isHyperscaleError(error, 'not-found')) throw error;
  }
}
