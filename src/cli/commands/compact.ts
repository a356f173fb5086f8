import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { VolumeAnswer } from '../../api/schemas.ts';
import type { VolumeSpaceAnswer } from '../../api/space-schemas.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { withProgress } from '../progress.ts';
import { formatBytes } from '../size.ts';

const lookMs = 500;

/** What is printed at the end: the volume, and what it took before and takes now. */
type Compacted = VolumeAnswer & { heldBytesBefore: number; heldBytes: number };

/** `hscli volume compact`. */
export function compactCommand(volume: Command, io: Io): void {
  volume
    .command('compact')
    .description('give space back to the pools that a volume takes and does not show any more')
    .argument('<volume>', 'name or id of the volume')
    .option('--cancel', 'give up a compact that is under way; what is done stays')
    .option('--no-wait', 'do not wait until it is done')
    .addHelpText(
      'after',
      '\nWhat a guest has discarded or written again is written anew without it, in the background and\n' +
        'while the volume is used too; layers that clones show stay. It needs room for one more copy of\n' +
        'each run of layers, one after the other. Ctrl-C ends only the waiting.\n' +
        '\nExamples:\n  hscli volume compact db1\n  hscli volume compact db1 --cancel',
    )
    .action(async (name: string, options: { cancel?: true; wait: boolean }, command: Command) => {
      const context = contextOf(io, command);
      const { client } = context;
      if (options.cancel === true) {
        const kept = await client.cancelCompact(name);
        return context.print(kept, (v) => `Volume ${v.name} is not being compacted.\n`);
      }
      const before = await client.volumeSpace(name);
      const begun = await client.compact(name);
      const last = options.wait ? await untilCompact(context, begun) : begun;
      const { heldBytes } = await client.volumeSpace(begun.id);
      await context.print({ ...last, heldBytesBefore: before.heldBytes, heldBytes }, compactedText);
    });
}

function compactedText({ name, compacting, heldBytesBefore, heldBytes }: Compacted): string {
  if (compacting !== null) {
    return `Volume ${name} is being compacted: hscli volume show ${name}\n`;
  }
  return `Volume ${name} takes ${formatBytes(heldBytes)} on all nodes; before it took ${formatBytes(heldBytesBefore)}.\n`;
}

/** Looks until all is written anew and the old files are deleted, or somebody gave it up. */
async function untilCompact(context: Context, begun: VolumeAnswer): Promise<VolumeAnswer> {
  const { client, io } = context;
  let now: VolumeAnswer & { report?: { work: { what: string }[] } } = begun;
  let space: VolumeSpaceAnswer | null = null;
  const work = async () => {
    while (now.compacting !== null || space === null || space.garbageBytes > 0) {
      await delay(lookMs, null, { signal: io.signal });
      now = await client.volume(begun.id);
      space = await client.volumeSpace(begun.id);
    }
    return now;
  };
  const text = async () => {
    const doing = now.report?.work.map(({ what }) => what).join(' ') ?? '';
    return `Compacting ${now.name}, ${now.compacting ?? 0} runs of layers left. ${doing}`;
  };
  return withProgress(context, text, work);
}
