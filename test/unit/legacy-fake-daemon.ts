import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { NodeAnswer } from '../../src/api/schemas.ts';

/** What a fake daemon answers: a status with a body, or something done to the connection itself. */
export type Answer = { status: number; body?: unknown } | ((response: ServerResponse) => void);

export type Asked = { call: string; body: unknown };

/** An HTTP server on a Unix socket that answers what it was told to, and keeps what it was asked. */
export class FakeDaemon {
  readonly socket: string;
  readonly asked: Asked[] = [];
  /** Answers by `METHOD /path`; of a list the next one each time, the last one for ever. */
  readonly answers = new Map<string, Answer | Answer[]>();
  readonly #directory: string;
  readonly #server = createServer();

  private constructor(directory: string) {
    this.#directory = directory;
    this.socket = join(directory, 'api.sock');
    this.#server.on('request', (request, response) => {
      this.#serve(request, response).catch((error: Error) => response.destroy(error));
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = `${request.method} ${request.url}`;
    const text = await textOf(request);
    this.asked.push({ call, body: text === '' ? undefined : JSON.parse(text) });
    const answer = this.#answerTo(call);
    if (typeof answer === 'function') {
      answer(response);
      return;
    }
    const body = answer.body === undefined ? '' : JSON.stringify(answer.body);
    const length = { 'content-length': Buffer.byteLength(body) };
    response.writeHead(answer.status, answer.status === 204 ? {} : length).end(body);
  }

  static async start(): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(await mkdtemp(join(tmpdir(), 'hs-legacy-')));
    await new Promise<void>((resolve) => daemon.#server.listen(daemon.socket, resolve));
    return daemon;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** What it was asked, without bodies. */
  get calls(): string[] {
    return this.asked.map(({ call }) => call);
  }

  #answerTo(call: string): Answer {
    const answer = this.answers.get(call) ?? problem(404, 'not-found', `there is no ${call}`);
    if (!Array.isArray(answer)) return answer;
    const next = answer.length > 1 ? answer.shift() : answer[0];
    return next ?? problem(500, 'internal', 'the test has no answer');
  }
}

/** An error as the API answers it. */
export function problem(status: number, code: string, detail: string): Answer {
  const values = {};
  return { status, body: { type: `urn:${code}`, title: code, status, detail, code, values } };
}

/** A node as the API shows it. */
export function nodeAnswer(name: string, changes: Partial<NodeAnswer> = {}): NodeAnswer {
  return {
    ...{ name, up: true, pool: `pool-${name}`, address: `10.0.0.${name.slice(1)}` },
    ...{ apiPort: 7480, replicaPort: 7481, registeredAt: '2026-01-01T00:00:00.000Z' },
    ...{ boot: 'b', version: '0.1.0', totalBytes: 100 * 2 ** 30, freeBytes: 40.5 * 2 ** 30 },
    ...{ labels: { site: null, rack: null }, drain: null },
    ...{ heads: [], attached: [], copies: { open: 0, clean: 0, unverified: 0, copying: 0 } },
    ...changes,
  };
}
