import { connect } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { errorText, HyperscaleError } from '../errors.ts';

export type QmpEvent = { event: string; data: Record<string, unknown> };
export type QmpOptions = {
  /** Milliseconds until the answer is given up; the default is 5000. */
  timeoutMs?: number;
  signal?: AbortSignal;
};

type Pending = { command: string; resolve: (value: unknown) => void; reject: (e: Error) => void };

/** A message of QMP; which fields are there tells what it is. */
type Message = {
  QMP?: unknown;
  id?: unknown;
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: Record<string, unknown>;
};

const maxLine = 64 << 20;

/**
 * A client of QEMU's machine protocol. Commands are pipelined and matched by id. Every command has
 * a time limit, because a QEMU whose graph is stuck in a request may never answer; the caller then
 * decides whether to kill it (a hung head is never asked again).
 *
 * ```ts
 * const qmp = await QmpClient.connect('/run/hyperscale/heads/x.qmp');
 * await qmp.execute('query-block-exports');
 * ```
 */
export class QmpClient {
  readonly #output: Writable;
  readonly #destroy: () => void;
  readonly #pending = new Map<number, Pending>();
  readonly #eventListeners = new Set<(event: QmpEvent) => void>();
  readonly #closeListeners = new Set<() => void>();
  #greeting: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #received: string[] = [];
  #receivedLength = 0;
  #nextId = 1;
  #closed: HyperscaleError | undefined;

  private constructor(input: Readable, output: Writable, destroy: () => void) {
    this.#output = output;
    this.#destroy = destroy;
    input.setEncoding('utf8');
    input.on('data', (text: string) => this.#receive(text));
    for (const stream of new Set([input, output])) {
      stream.on('error', (error: Error) => this.#close(error.message));
      stream.on('close', () => this.#close('the connection was closed'));
    }
    input.on('end', () => this.#close('the connection was closed'));
  }

  /** Connects to a QMP socket and negotiates. @throws `engine` */
  static async connect(path: string, options: QmpOptions = {}): Promise<QmpClient> {
    const socket = connect({ path });
    return await QmpClient.over(socket, socket, () => socket.destroy(), options);
  }

  /** Speaks QMP over two streams, for a QEMU that has it on its standard input and output. */
  static async over(
    input: Readable,
    output: Writable,
    destroy: () => void,
    options: QmpOptions = {},
  ): Promise<QmpClient> {
    const client = new QmpClient(input, output, destroy);
    try {
      const greeting = new Promise<void>((resolve, reject) => {
        client.#greeting = { resolve, reject };
      });
      await client.#limited(greeting, 'the greeting', options);
      await client.execute('qmp_capabilities', {}, options);
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Runs a command.
   * @returns what QEMU returned.
   * @throws `engine` with QEMU's words, or when the connection closes; `timeout`; `cancelled`. A
   *   command that was given up may still be carried out.
   */
  async execute(
    command: string,
    args: Record<string, unknown> = {},
    options: QmpOptions = {},
  ): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
    });
    this.#output.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await this.#limited(answer, command, options);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Calls `listener` for every event until the returned function is called. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => this.#eventListeners.delete(listener);
  }

  /** Calls `listener` once when the connection closes, at once when it has. */
  onClose(listener: () => void): void {
    if (this.#closed !== undefined) queueMicrotask(listener);
    else this.#closeListeners.add(listener);
  }

  /**
   * Waits for an event. Call it before the command that causes the event is sent.
   * @throws `timeout`, or `engine` when the connection closes first.
   */
  async event(matches: (event: QmpEvent) => boolean, options: QmpOptions = {}): Promise<QmpEvent> {
    const { promise, resolve, reject } = Promise.withResolvers<QmpEvent>();
    const remove = this.onEvent((event) => {
      if (matches(event)) resolve(event);
    });
    const onClose = () => reject(this.#closed ?? new HyperscaleError('engine', 'QMP closed'));
    this.onClose(onClose);
    try {
      return await this.#limited(promise, 'an event', options);
    } finally {
      remove();
      this.#closeListeners.delete(onClose);
    }
  }

  close(): void {
    this.#close('closed by this side');
  }

  async #limited<T>(work: Promise<T>, what: string, options: QmpOptions): Promise<T> {
    const { timeoutMs = 5000, signal } = options;
    const limit = Promise.withResolvers<never>();
    // The command may settle after it was given up; nobody waits for it then.
    work.catch(() => undefined);
    const timer = setTimeout(() => {
      limit.reject(
        new HyperscaleError('timeout', `QEMU did not answer ${what} in ${timeoutMs} ms`),
      );
    }, timeoutMs);
    const abort = () => limit.reject(new HyperscaleError('cancelled', `${what} was cancelled`));
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([work, limit.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #receive(text: string): void {
    const lines = text.split('\n');
    const last = lines.pop() ?? '';
    for (const line of lines) {
      const whole = this.#received.join('') + line;
      this.#received = [];
      this.#receivedLength = 0;
      if (whole.trim() !== '') this.#message(whole);
    }
    this.#received.push(last);
    this.#receivedLength += last.length;
    if (this.#receivedLength > maxLine) this.#close(`a line is longer than ${maxLine} characters`);
  }

  #message(line: string): void {
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch (error) {
      this.#close(`not JSON: ${errorText(error)}`);
      return;
    }
    if (message.QMP !== undefined) {
      this.#greeting?.resolve();
    } else if (message.event !== undefined) {
      const event = { event: message.event, data: message.data ?? {} };
      for (const listener of [...this.#eventListeners]) listener(event);
    } else {
      this.#answer(message);
    }
  }

  #answer(message: Message): void {
    if (typeof message.id !== 'number') return;
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return; // given up meanwhile
    if (message.error === undefined) {
      pending.resolve(message.return);
      return;
    }
    pending.reject(
      new HyperscaleError('engine', `QEMU refused ${pending.command}: ${message.error.desc}`, {
        values: { command: pending.command, class: message.error.class },
      }),
    );
  }

  #close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = new HyperscaleError('engine', `QEMU's monitor is gone: ${reason}`);
    this.#destroy();
    this.#greeting?.reject(this.#closed);
    for (const pending of this.#pending.values()) pending.reject(this.#closed);
    this.#pending.clear();
    for (const listener of [...this.#closeListeners]) listener();
    this.#closeListeners.clear();
  }
}
