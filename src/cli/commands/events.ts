import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { HyperscaleError, isHyperscaleError } from '../../errors.ts';
import type { Client } from '../client.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import type { StreamItem } from '../event-reader.ts';
import { formatTime, printable } from '../format.ts';
import { listQuery } from '../list-options.ts';

const reconnectMs = 1000;

type Filter = { volume?: string; type?: string; limit?: string; after?: string };
type Options = Filter & { follow?: boolean };

export function eventCommands(program: Command, io: Io): void {
  program
    .command('events')
    .description('what happened on this node; with --follow also what happens, until Ctrl-C')
    .option('--follow', 'go on as events happen; survives a restart of the daemon')
    .option('--volume <volume>', 'only events of this volume (name or id)')
    .option('--type <type>', 'only events of this type; * stands for any characters')
    .option('--limit <count>', 'the oldest so many, 1 to 1000 (default: all)')
    .option('--after <id>', 'only events newer than the one with this id')
    .addHelpText(
      'after',
      '\nExamples:\n  hscli events\n  hscli events --follow --volume db1\n' +
        "  hscli events --type 'snapshot.*' --limit 100\n" +
        '  hscli events --follow --json      one JSON object a line',
    )
    .action(async ({ follow: follows, ...options }: Options, command: Command) => {
      const context = contextOf(io, command);
      if (follows === true) {
        await follow(context, options);
        return;
      }
      const { events } = await context.client.keptEvents(listQuery(options));
      for (const event of events) {
        if (context.json || !isQuiet(event)) io.stdout.write(lineOf(context, event));
      }
    });
}

async function follow(context: Context, { volume, type, ...rest }: Filter): Promise<void> {
  const { io, client } = context;
  if (rest.limit !== undefined) {
    throw new HyperscaleError('bad-input', '--limit does not go with --follow', {
      hint: 'Leave one of them out.',
    });
  }
  let after = idIn(rest.after);
  let events = await client.events({ after, volume, type });
  for (;;) {
    try {
      for await (const item of events) {
        after = 'missed' in item ? item.upTo : item.id;
        if (context.json || !isQuiet(item)) io.stdout.write(lineOf(context, item));
      }
    } catch (error) {
      if (!isHyperscaleError(error, 'unavailable')) {
        throw error;
      }
    }
    io.stderr.write('hscli: the connection to the daemon ended; waiting for it\n');
    events = await reconnected(context, { after, volume, type });
  }
}

async function reconnected(
  { io, client }: Context,
  options: { after: number; volume: string | undefined; type: string | undefined },
): ReturnType<Client['events']> {
  for (;;) {
    await delay(reconnectMs, undefined, { signal: io.signal });
    try {
      return await client.events(options);
    } catch (error) {
      if (!isHyperscaleError(error, 'unavailable')) {
        throw error;
      }
    }
  }
}

function idIn(after: string | undefined): number {
  if (after === undefined) return 0;
  if (/^[0-9]{1,15}$/.test(after)) return Number(after);
  throw new HyperscaleError('bad-input', `${JSON.stringify(after)} is not the id of an event`, {
    hint: 'It is a whole number; hscli events --json shows it.',
  });
}

/** Changes of a record that mean nothing to people; programs get them to look again. */
function isQuiet(item: StreamItem): boolean {
  return 'type' in item && item.type === 'volume.record';
}

function lineOf(context: Context, item: StreamItem): string {
  if (context.json) {
    return `${JSON.stringify(item)}\n`;
  }
  if ('missed' in item) {
    return '(older events are not known any more)\n';
  }
  return `${formatTime(item.at)}  ${item.node}  ${printable(item.text)}\n`;
}
