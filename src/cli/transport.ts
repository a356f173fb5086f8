import { type IncomingMessage, request } from 'node:http';
import { errorFromProblem } from '../api/problems.ts';
import { HyperscaleError } from '../errors.ts';
import { type FileCall, sendFile } from './send-file.ts';
import { socketError } from './socket-error.ts';

export type Call = { method: string; path: string; body?: unknown };

/**
 * HTTP over the daemon's Unix socket; everything that fails becomes an error that says what to do.
 * `node:http` and not undici: loading undici costs a command 0.1 s, and a command makes one or two
 * requests.
 */
export class Transport {
  readonly #socket: string;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;

  /** @param options.timeoutMs for each `ask`; 0 waits for ever. */
  constructor(options: { socket: string; timeoutMs: number; signal: AbortSignal }) {
    this.#socket = options.socket;
    this.#timeoutMs = options.timeoutMs;
    this.#signal = options.signal;
  }

  /** Makes a request and reads its answer. */
  async ask<T>(call: Call): Promise<T> {
    const timeout = this.#timeoutMs === 0 ? null : AbortSignal.timeout(this.#timeoutMs);
    const signal = timeout === null ? this.#signal : AbortSignal.any([this.#signal, timeout]);
    try {
      const response = await send(this.#socket, call, signal);
      await failUnlessOk(response);
      return JSON.parse((await textOf(response)) || 'null');
    } catch (error) {
      if (timeout?.aborted === true && !this.#signal.aborted) {
        const seconds = this.#timeoutMs / 1000;
        throw new HyperscaleError('timeout', `no answer within ${seconds} s`, {
          hint: 'It may still happen: look with `hscli events`, or wait longer with --timeout.',
          values: { seconds },
        });
      }
      throw this.#explained(error);
    }
  }

  /** Sends a file and reads the answer to it, for as long as it takes. */
  async send<T>(call: FileCall): Promise<T> {
    try {
      const response = await sendFile(this.#socket, call, this.#signal);
      try {
        await failUnlessOk(response);
        return JSON.parse((await textOf(response)) || 'null');
      } finally {
        response.destroy();
      }
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** Opens a stream; resolves when the answer begins. */
  async open(path: string): Promise<IncomingMessage> {
    try {
      const response = await send(this.#socket, { method: 'GET', path }, this.#signal);
      await failUnlessOk(response);
      return response;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** Passes items on until the stream ends, which is `unavailable`. */
  async *untilEnd<T>(items: AsyncIterable<T>): AsyncGenerator<T, never> {
    try {
      yield* items;
    } catch (error) {
      throw this.#explained(error);
    }
    throw this.#explained(new Error('the connection ended'));
  }

  #explained(error: unknown): HyperscaleError {
    if (error instanceof HyperscaleError) {
      return error;
    }
    if (this.#signal.aborted) {
      return new HyperscaleError('cancelled', 'cancelled');
    }
    return socketError(error, this.#socket);
  }
}

function send(socketPath: string, call: Call, signal: AbortSignal): Promise<IncomingMessage> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers: Record<string, string | number> = { host: 'hyperscale' };
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
    headers['content-length'] = Buffer.byteLength(body);
  }
  const { method, path } = call;
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, signal, headers }, resolve);
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

async function failUnlessOk(response: IncomingMessage): Promise<void> {
  const status = response.statusCode ?? 0;
  if (status >= 400) {
    throw errorFromProblem(parsed(await textOf(response)), status);
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of response) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
