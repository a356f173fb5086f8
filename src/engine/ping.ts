import type { Socket } from 'node:net';
import { hasCode } from './durable.ts';
import { NbdConnection } from './nbd-client.ts';
import { heartbeatBytes } from './probe.ts';
import { pingExport } from './replica-graph.ts';

export type PingFailure = 'refused' | 'reset' | 'timeout';
export type PingStatus =
  | { state: 'alive' }
  /** `lastAnswer`: when it answered last, on the monotonic clock (ms); null when it never did. */
  | { state: 'failed'; reason: PingFailure; lastAnswer: number | null };

export type PingOptions = {
  address: string;
  port: number;
  /** Milliseconds between reads; 250. */
  intervalMs?: number;
  /** How long a server may be away after it closed the connection or refused it; 300 ms. */
  graceMs?: number;
  /** How long it may stay silent; 3000 ms. */
  timeoutMs?: number;
  /** Called at every change, and once at the first answer or failure. */
  onChange: (status: PingStatus) => void;
};

const tickMs = 25;
const reconnectMs = 50;
const reconnectFailedMs = 500;
/** A delay of our own timer that is taken for a blocked event loop. */
const blockedMs = 500;

/**
 * The heartbeat of a peer's replica server: reads 4 KiB of its disk again and again over the
 * protocol and the port that its members' writes use. What it sees of a peer is what a head sees.
 */
export class NbdPing {
  readonly #options: Required<PingOptions>;
  readonly #timer: NodeJS.Timeout;
  #status: PingStatus | undefined;
  #socket: Socket | undefined;
  #closed = false;
  #lastTick = performance.now();
  #lastAnswer: number | null = null;
  /** Since when it owes an answer, or is not connected. */
  #silentSince = performance.now();
  /** Since when and why there is no connection. */
  #lost: { since: number; reason: 'refused' | 'reset' } | undefined;
  #nextAttempt = 0;
  #attempting = false;

  constructor(options: PingOptions) {
    this.#options = { intervalMs: 250, graceMs: 300, timeoutMs: 3000, ...options };
    this.#timer = setInterval(() => this.#tick(), tickMs);
    this.#tick();
  }

  /** Undefined until the first answer or failure. */
  get status(): PingStatus | undefined {
    return this.#status;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#socket?.destroy();
  }

  #tick(): void {
    const now = performance.now();
    const blocked = now - this.#lastTick - tickMs;
    this.#lastTick = now;
    if (blocked > blockedMs) {
      // We did not listen in this time, so it does not count against the peer.
      this.#silentSince += blocked;
      if (this.#lost !== undefined) this.#lost.since += blocked;
      return; // answers that wait are read before the next tick
    }
    const { graceMs, timeoutMs } = this.#options;
    if (this.#lost !== undefined && now - this.#lost.since > graceMs) {
      this.#fail(this.#lost.reason);
    } else if (now - this.#silentSince > timeoutMs) {
      this.#fail('timeout');
      this.#socket?.destroy(); // a new connection may do what this one does not
      this.#silentSince = now;
    }
    if (!this.#attempting && now >= this.#nextAttempt) this.#connect();
  }

  #connect(): void {
    this.#attempting = true;
    this.#beat()
      .catch((error: unknown) => this.#disconnected(error))
      .finally(() => {
        this.#socket?.destroy();
        this.#attempting = false;
      });
  }

  /** Connects and reads until something fails. */
  async #beat(): Promise<void> {
    const { address, port, intervalMs } = this.#options;
    const connection = await NbdConnection.open(address, port, pingExport, (socket) => {
      this.#socket = socket;
    });
    while (!this.#closed) {
      await connection.read(0, heartbeatBytes);
      this.#answered();
      await this.#pause(intervalMs);
      this.#silentSince = performance.now();
    }
  }

  /** Waits between reads; ends early when the connection does. */
  async #pause(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    this.#socket?.once('close', resolve);
    await promise;
    clearTimeout(timer);
    this.#socket?.removeListener('close', resolve);
  }

  #answered(): void {
    this.#lastAnswer = performance.now();
    this.#silentSince = this.#lastAnswer;
    this.#lost = undefined;
    this.#change({ state: 'alive' });
  }

  #disconnected(error: unknown): void {
    const now = performance.now();
    const failed = this.#status?.state === 'failed';
    this.#nextAttempt = now + (failed ? reconnectFailedMs : reconnectMs);
    const refused = hasCode(error, 'ECONNREFUSED');
    // A host that cannot be reached is silent; everything else is a server that went away.
    if (!refused && hasCode(error, 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT')) return;
    this.#lost ??= { since: now, reason: refused ? 'refused' : 'reset' };
  }

  #fail(reason: PingFailure): void {
    if (this.#status?.state === 'failed') return;
    this.#change({ state: 'failed', reason, lastAnswer: this.#lastAnswer });
  }

  #change(status: PingStatus): void {
    if (this.#closed || (this.#status?.state === 'alive' && status.state === 'alive')) return;
    this.#status = status;
    this.#options.onChange(status);
  }
}
