import type { Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { HyperscaleError } from '../errors.ts';
import { Client } from './client.ts';
import { defaultSocket } from './socket-error.ts';

/** The world of one run of `hscli`; tests pass their own. */
export type Io = {
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
  stdin: Readable & { isTTY?: boolean };
  env: Record<string, string | undefined>;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
};

export const defaultTimeoutSeconds = 60;

/** What every command works with. */
export type Context = {
  io: Io;
  client: Client;
  json: boolean;
  /** What --timeout said, or what is waited without it; 0: for ever. */
  seconds: number;
  /** Prints the answer: as JSON with --json, else what `text` makes of it. */
  print<T>(answer: T, text: (answer: T) => string | Promise<string>): Promise<void>;
};

/**
 * The context of a command that is being run, from the options before and after its name.
 * @param seconds how long an answer is waited for when the options do not say; 0: for ever.
 * @param more so many seconds longer, where the daemon itself is to keep to --timeout.
 */
export function contextOf(
  io: Io,
  command: Command,
  seconds: number = defaultTimeoutSeconds,
  more = 0,
): Context {
  const options = command.optsWithGlobals<{ json?: boolean; socket?: string; timeout?: string }>();
  const json = options.json === true;
  const wait = parseSeconds(options.timeout, seconds);
  const client = new Client({
    socket: options.socket ?? io.env.HYPERSCALE_SOCKET ?? defaultSocket,
    timeoutMs: (wait === 0 ? 0 : wait + more) * 1000,
    signal: io.signal,
  });
  return {
    io,
    client,
    json,
    seconds: wait,
    async print(answer, text) {
      io.stdout.write(json ? `${JSON.stringify(answer, null, 2)}\n` : await text(answer));
    },
  };
}

function parseSeconds(text: string | undefined, otherwise: number): number {
  if (text === undefined) {
    return otherwise;
  }
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds > 86_400) {
    throw new HyperscaleError('bad-input', `timeout ${JSON.stringify(text)} is not valid`, {
      hint: 'Give seconds, at most 86400; 0 waits for ever.',
    });
  }
  return seconds;
}
