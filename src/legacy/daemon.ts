import { Transport } from '../cli/transport.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';

const timeoutMs = 60_000;
/** A volume that another node has just created is known here a little later. */
const newsAfterMs = 1_000;
const askAgainMs = 50;

/** The daemon of this node, asked over its Unix socket. */
export class Daemon {
  readonly #socket: string;
  readonly #signal: AbortSignal;

  /** @param signal ends the request under way, and all that would follow. */
  constructor(socket: string, signal = new AbortController().signal) {
    this.#socket = socket;
    this.#signal = signal;
  }

  /** Makes a request of the API. @throws what the daemon answered, or why it did not. */
  async ask<T>(method: string, path: string, body?: unknown, withinMs = timeoutMs): Promise<T> {
    const transport = new Transport({
      socket: this.#socket,
      timeoutMs: withinMs,
      signal: this.#signal,
    });
    return transport.ask({ method, path, body });
  }

  /** Like `ask`, for a volume that must exist: waits for the news that it does. */
  async askOfKnown<T>(method: string, path: string, body?: unknown): Promise<T> {
    const until = performance.now() + newsAfterMs;
    for (;;) {
      try {
        return await this.ask<T>(method, path, body);
      } catch (error) {
        if (!isHyperscaleError(error, 'not-found') || performance.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, askAgainMs));
      }
    }
  }

  /** The name of the node that it is the daemon of. */
  async node(): Promise<string> {
    return (await this.ask<{ node: string }>('GET', '/v1/health')).node;
  }
}

/** Resolves to null in place of `not-found`. */
export async function unlessAbsent<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) return null;
    throw error;
  }
}

/** The path of a volume in the API. */
export function volumePath(name: string): string {
  return `/v1/volumes/${encodeURIComponent(name)}`;
}

/** Says that something of the original product cannot be done yet. */
export function notSupported(what: string, hint: string): HyperscaleError {
  return new HyperscaleError('not-supported', `${what}: not supported yet`, { hint });
}
