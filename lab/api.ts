/** A small client of a node's API on its Unix socket. */
import { Pool } from 'undici';
import { HyperscaleError } from '../src/errors.ts';

export type Answer<T> = { status: number; body: T };

export type ApiEvent = { event: string; data: unknown };

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Server-sent events out of a stream of text, as in the HTML standard, as far as we use them. */
async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ApiEvent> {
  let buffer = '';
  for await (const chunk of chunks) {
    buffer = (buffer + chunk).replaceAll('\r\n', '\n');
    const blocks = buffer.split('\n\n');
    buffer = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string): string[] =>
        block
          .split('\n')
          .filter((line) => line.startsWith(`${name}:`))
          .map((line) => line.slice(name.length + 1).trimStart());
      const data = field('data').join('\n');
      if (data !== '') {
        yield { event: field('event')[0] ?? 'message', data: JSON.parse(data) };
      }
    }
  }
}

export class LabApi {
  readonly #pool: Pool;

  constructor(socketPath: string) {
    this.#pool = new Pool('http://hyperscale', { socketPath, connections: 8 });
  }

  /**
   * One request; the body goes and comes as JSON. Every status is an answer; only a connection
   * that fails, or no answer within `timeoutMs`, rejects.
   */
  async request<T = unknown>(
    method: Method,
    path: string,
    body?: unknown,
    timeoutMs = 60_000,
  ): Promise<Answer<T>> {
    const response = await this.#pool.request({
      method,
      path,
      headersTimeout: 0,
      bodyTimeout: 0,
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    const json = String(response.headers['content-type'] ?? '').includes('json');
    return { status: response.statusCode, body: (json ? JSON.parse(text) : text) as T };
  }

  /** Like `request`, but an answer other than 2xx rejects, quoting it. */
  async call<T = unknown>(method: Method, path: string, body?: unknown): Promise<T> {
    const answer = await this.request<T>(method, path, body);
    if (answer.status < 200 || answer.status > 299) {
      const quoted = JSON.stringify(answer.body);
      throw new HyperscaleError('internal', `${method} ${path}: ${answer.status} ${quoted}`);
    }
    return answer.body;
  }

  /** The events of `GET path` as they come, until `signal` aborts or the server ends them. */
  async *events(path: string, signal: AbortSignal): AsyncGenerator<ApiEvent> {
    const headers = { accept: 'text/event-stream' };
    const response = await this.#pool.request({
      method: 'GET',
      path,
      headers,
      headersTimeout: 0,
      bodyTimeout: 0,
      signal,
    });
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new HyperscaleError('internal', `GET ${path}: ${response.statusCode}`);
    }
    response.body.setEncoding('utf8');
    yield* parseEvents(response.body);
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
