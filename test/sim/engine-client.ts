import type { BlockReply, BlockRequest, Connection, ReplyTo } from './engine-connection.ts';
import type { SimProcess } from './engine-process.ts';

const firstPauseMs = 200;
const lastPauseMs = 2_000;

/** Tries once to connect; calls back with null when it did not. */
export type Dial = (done: (connection: Connection | null) => void) => void;

/**
 * QEMU's NBD client with a reconnect delay: when its connection is lost it connects again, as often
 * as it takes, and repeats what was not answered.
 */
export class NbdClient {
  readonly #owner: SimProcess;
  readonly #dial: Dial;
  readonly #pending = new Map<number, { request: BlockRequest; reply: ReplyTo }>();
  readonly #whenOpen: ((open: boolean) => void)[] = [];
  #connection: Connection | null = null;
  #next = 0;
  #closed = false;
  #pauseMs = firstPauseMs;
  #blocks = 0;

  constructor(owner: SimProcess, dial: Dial) {
    this.#owner = owner;
    this.#dial = dial;
    this.#connect();
  }

  get connected(): boolean {
    return this.#connection !== null;
  }

  /** The size that was negotiated with the newest connection; 0 before the first. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Calls back with true at the first connection, with false when there is none in time. */
  opened(timeoutMs: number, done: (open: boolean) => void): void {
    let over = false;
    const once = (open: boolean) => {
      if (over) return;
      over = true;
      done(open);
    };
    if (this.connected) {
      once(true);
      return;
    }
    this.#whenOpen.push(once);
    this.#owner.after(timeoutMs, () => once(false));
  }

  request(request: BlockRequest, reply: ReplyTo): void {
    const id = this.#next++;
    this.#pending.set(id, { request, reply });
    this.#send(id);
  }

  close(): void {
    this.#closed = true;
    this.#pending.clear();
    this.#connection?.close();
    this.#connection = null;
  }

  #send(id: number): void {
    const entry = this.#pending.get(id);
    if (entry === undefined) return;
    this.#connection?.request(entry.request, (reply: BlockReply) => {
      if (this.#pending.delete(id)) entry.reply(reply);
    });
  }

  #connect(): void {
    if (this.#closed || !this.#owner.alive) return;
    this.#dial((connection) => {
      if (this.#closed) {
        connection?.close();
        return;
      }
      if (connection === null) {
        this.#owner.after(this.#pauseMs, () => this.#connect());
        this.#pauseMs = Math.min(this.#pauseMs * 2, lastPauseMs);
        return;
      }
      this.#pauseMs = firstPauseMs;
      this.#connection = connection;
      this.#blocks = connection.server.blocks;
      connection.onClosed(() => {
        this.#connection = null;
        this.#connect();
      });
      for (const id of [...this.#pending.keys()]) this.#send(id);
      for (const done of this.#whenOpen.splice(0)) done(true);
    });
  }
}
