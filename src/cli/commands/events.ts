import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { isHyperscaleError } from '../../errors.ts';
import type { Client } from '../client.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import type { StreamItem } from '../event-reader.ts';
import { formatTime, printable } from '../format.ts';

const reconnectMs = 1000;

export function eventCommands(program: Command, io: Io): void {
  program
    .command('events')
    .description('what happened on this node; with --follow also what happens, until Ctrl-C')
    .option('--follow', 'go on as events happen; survives a restart of the daemon')
    .option('--volume <volume>', 'only events of this volume (name or id)')
    .addHelpText(
      'after',
      '\nExamples:\n  hscli events\n  hscli events --follow --volume db1\n' +
        '  hscli events --follow --json      one JSON object a line',
    )
    .action(async (options: { follow?: boolean; volume?: string }, command: Command) => {
      const context = contextOf(io, command);
      if (options.follow === true) {
        await follow(context, options.volume);
        return;
      }
      const { events } = await context.client.keptEvents(options.volume);
      for (const event of events) {
        if (context.json || !isQuiet(event)) io.stdout.write(lineOf(context, event));
      }
    });
}

async function follow(context: Context, volume: string | undefined): Promise<void> {
  const { io, client } = context;
  let after = 0;
  let events = await client.events({ after, volume });
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
    events = await reconnected(context, { after, volume });
  }
}

async function reconnected(
  { io, client }: Context,
  options: { after: number; volume: string | undefined },
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
