import { request as httpRequest, type IncomingMessage } from 'node:http';
import { errorFromProblem } from '../api/problems.ts';
import type {
  ClusterAnswer,
  EndpointAnswer,
  LayerAnswer,
  NodeAnswer,
  PolicyAnswer,
  ReportAnswer,
  VolumeAnswer,
  VolumeDetailAnswer,
  WorkAnswer,
} from '../api/schemas.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { type StreamItem, streamItems } from './event-reader.ts';

export type Call = {
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
};

/**
 * The API over the daemon's Unix socket. `node:http` and not undici: loading undici costs a
 * command 0.1 s, and a command makes one or two requests.
 */
export class Client {
  readonly #socket: string;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;

  /** @param options.timeoutMs for each request (not for streams); 0 waits for ever. */
  constructor(options: { socket: string; timeoutMs: number; signal: AbortSignal }) {
    this.#socket = options.socket;
    this.#timeoutMs = options.timeoutMs;
    this.#signal = options.signal;
  }

  cluster(): Promise<ClusterAnswer> {
    return this.#ask({ method: 'GET', path: '/v1/cluster' });
  }

  nodes(): Promise<{ nodes: NodeAnswer[] }> {
    return this.#ask({ method: 'GET', path: '/v1/nodes' });
  }

  node(name: string): Promise<NodeAnswer> {
    return this.#ask({ method: 'GET', path: `/v1/nodes/${part('node', name)}` });
  }

  policies(): Promise<{ policies: PolicyAnswer[] }> {
    return this.#ask({ method: 'GET', path: '/v1/policies' });
  }

  work(): Promise<{ work: WorkAnswer[] }> {
    return this.#ask({ method: 'GET', path: '/v1/work' });
  }

  volumes(): Promise<{ volumes: VolumeAnswer[] }> {
    return this.#ask({ method: 'GET', path: '/v1/volumes' });
  }

  volume(volume: string): Promise<VolumeDetailAnswer> {
    return this.#ask({ method: 'GET', path: volumePath(volume) });
  }

  health(volume: string): Promise<ReportAnswer> {
    return this.#ask({ method: 'GET', path: `${volumePath(volume)}/health` });
  }

  layers(volume: string): Promise<{ layers: LayerAnswer[] }> {
    return this.#ask({ method: 'GET', path: `${volumePath(volume)}/layers` });
  }

  create(body: { name: string; sizeBytes: number; policy: string }): Promise<VolumeAnswer> {
    return this.#ask({ method: 'POST', path: '/v1/volumes', body });
  }

  delete(volume: string): Promise<void> {
    return this.#ask({ method: 'DELETE', path: volumePath(volume) });
  }

  attach(volume: string, host: string | undefined): Promise<EndpointAnswer> {
    const body = host === undefined ? {} : { host };
    return this.#ask({ method: 'POST', path: `${volumePath(volume)}/attachments`, body });
  }

  detach(volume: string, host: string): Promise<void> {
    const path = `${volumePath(volume)}/attachments/${part('node', host)}`;
    return this.#ask({ method: 'DELETE', path });
  }

  seal(volume: string): Promise<VolumeAnswer> {
    return this.#ask({ method: 'POST', path: `${volumePath(volume)}/seal` });
  }

  /** The node that answers. */
  async thisNode(): Promise<string> {
    const health: { node: string } = await this.#ask({ method: 'GET', path: '/v1/health' });
    return health.node;
  }

  /**
   * Follows events; resolves once nothing that happens from then on is left out.
   * @param options.after send kept events newer than this id first; null: only new ones.
   * @returns events until the connection ends, which is `unavailable`.
   */
  async events(options: {
    after: number | null;
    volume: string | undefined;
  }): Promise<AsyncGenerator<StreamItem, never>> {
    const query = new URLSearchParams();
    if (options.after !== null) {
      query.set('after', String(options.after));
    }
    if (options.volume !== undefined) {
      query.set('volume', options.volume);
    }
    const response = await this.#send({ method: 'GET', path: `/v1/events?${query}` }, this.#signal);
    await this.#failUnlessOk(response);
    return this.#itemsOf(response);
  }

  /** The events that the node still keeps. */
  keptEvents(volume?: string): Promise<{ events: StreamItem[] }> {
    const filter = volume === undefined ? '' : `&volume=${part('volume', volume)}`;
    return this.#ask({ method: 'GET', path: `/v1/events?follow=false${filter}` });
  }

  async *#itemsOf(response: IncomingMessage): AsyncGenerator<StreamItem, never> {
    try {
      yield* streamItems(response);
    } catch (error) {
      throw this.#connectionError(asError(error));
    }
    throw this.#connectionError(new Error('the connection ended'));
  }

  async #ask<T>(call: Call): Promise<T> {
    const timeout = this.#timeoutMs === 0 ? null : AbortSignal.timeout(this.#timeoutMs);
    const signal = timeout === null ? this.#signal : AbortSignal.any([this.#signal, timeout]);
    try {
      const response = await this.#send(call, signal);
      await this.#failUnlessOk(response);
      return JSON.parse((await text(response)) || 'null');
    } catch (error) {
      if (timeout?.aborted === true && !this.#signal.aborted) {
        const seconds = this.#timeoutMs / 1000;
        throw new HyperscaleError('timeout', `no answer within ${seconds} s`, {
          hint: 'It may still happen: look with `hscli events`, or wait longer with --timeout.',
          values: { seconds },
        });
      }
      throw error;
    }
  }

  async #failUnlessOk(response: IncomingMessage): Promise<void> {
    const status = response.statusCode ?? 0;
    if (status >= 400) {
      const body = await text(response);
      throw errorFromProblem(parsed(body), status);
    }
  }

  #send(call: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        {
          socketPath: this.#socket,
          method: call.method,
          path: call.path,
          signal,
          headers: {
            host: 'hyperscale',
            ...(body === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          },
        },
        resolve,
      );
      outgoing.once('error', (error) => reject(this.#connectionError(error)));
      outgoing.end(body);
    });
  }

  #connectionError(error: Error): HyperscaleError {
    if (this.#signal.aborted) {
      return new HyperscaleError('cancelled', 'cancelled');
    }
    const socket = this.#socket;
    const code = 'code' in error ? error.code : undefined;
    const start = 'Start the daemon with `hyperscaled --config FILE`';
    switch (code) {
      case 'ENOENT':
        return new HyperscaleError(
          'unavailable',
          `hyperscaled is not running: no socket ${socket}`,
          {
            hint: `${start}, or name its socket with --socket or HYPERSCALE_SOCKET.`,
            values: { socket },
          },
        );
      case 'ECONNREFUSED':
        return new HyperscaleError(
          'unavailable',
          `hyperscaled is not running: nothing answers on ${socket}`,
          { hint: `${start}; its log says why it ended.`, values: { socket } },
        );
      case 'EACCES':
      case 'EPERM':
        return new HyperscaleError('unauthorized', `you may not use ${socket}`, {
          hint: 'Run hscli as root.',
          values: { socket },
        });
      default:
        return new HyperscaleError(
          'unavailable',
          `no answer from hyperscaled on ${socket}: ${errorText(error)}`,
          { hint: "The daemon's log may tell more.", values: { socket }, cause: error },
        );
    }
  }
}

function volumePath(volume: string): string {
  return `/v1/volumes/${part('volume', volume)}`;
}

/** One part of a path. `.` and `..` would be resolved away, and then another thing be asked for. */
function part(what: string, value: string): string {
  if (value === '' || value === '.' || value === '..') {
    throw new HyperscaleError(
      'bad-input',
      `${JSON.stringify(value)} is not the name of a ${what}`,
      {
        hint: `hscli ${what} list shows all.`,
      },
    );
  }
  return encodeURIComponent(value);
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

async function text(response: IncomingMessage): Promise<string> {
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
