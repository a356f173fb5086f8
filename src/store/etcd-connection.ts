/**
 * Keeps a session with one of the endpoints: connects, has the owner bring its caches up to date,
 * and starts over with the next endpoint when the session is lost.
 */

import { errorText, HyperscaleError } from '../errors.ts';
import type { Clock } from './clock.ts';
import { storeUnavailable } from './etcd-errors.ts';
import type { EtcdSession } from './etcd-session.ts';
import type { StoreLog } from './log.ts';

const firstBackoffMs = 50;
const longestBackoffMs = 500;
const complainEveryMs = 5000;

export type EtcdConnection = ReturnType<typeof createConnection>;

/**
 * @param prepare brings everything up to date on a new session; it is usable afterwards.
 * @param changed called with the usable session, or undefined when it is lost.
 */
export function createConnection(options: {
  endpoints: string[];
  open: (endpoint: string) => EtcdSession;
  clock: Clock;
  log: StoreLog;
  prepare: (session: EtcdSession) => Promise<void>;
  changed: (session: EtcdSession | undefined) => void;
}) {
  const { endpoints, open, clock, log, prepare, changed } = options;
  const closing = new AbortController();
  let session: EtcdSession | undefined;
  let ready = newGate(clock);
  let complainedAt = Number.NEGATIVE_INFINITY;
  let complainedAbout = '';

  async function run(): Promise<void> {
    let backoffMs = firstBackoffMs;
    for (let turn = 0; !closing.signal.aborted; turn++) {
      const endpoint = endpoints[turn % endpoints.length] as string;
      const next = open(endpoint);
      const close = () => next.close();
      closing.signal.addEventListener('abort', close, { once: true });
      try {
        await prepare(next);
        next.lost.throwIfAborted();
        backoffMs = firstBackoffMs;
        complainedAt = Number.NEGATIVE_INFINITY;
        await use(next);
      } catch (error) {
        next.fail(error);
        if (!closing.signal.aborted) complain(endpoint, error);
      }
      closing.signal.removeEventListener('abort', close);
      await clock.sleep(backoffMs, closing.signal);
      backoffMs = Math.min(backoffMs * 2, longestBackoffMs);
    }
  }

  /** Offers the session to everyone until it is lost. */
  async function use(next: EtcdSession): Promise<void> {
    const lost = new Promise<void>((resolve) => {
      next.lost.addEventListener('abort', () => resolve(), { once: true });
    });
    session = next;
    log.info({ endpoint: next.endpoint }, 'connected to etcd');
    ready.open();
    changed(next);
    await lost;
    session = undefined;
    ready = newGate(clock);
    if (closing.signal.aborted) return;
    log.warn({ endpoint: next.endpoint, reason: errorText(next.lost.reason) }, 'lost etcd');
    changed(undefined);
  }

  function complain(endpoint: string, error: unknown): void {
    // What we refuse ourselves is told at once, even right after something else.
    const about = error instanceof HyperscaleError ? error.message : 'network';
    const recently = clock.now() - complainedAt < complainEveryMs;
    if (recently && about === complainedAbout) return;
    complainedAt = clock.now();
    complainedAbout = about;
    log.warn({ endpoint, reason: errorText(error) }, `waiting for etcd at ${endpoints.join(', ')}`);
  }

  const running = run();

  return {
    /** The usable session, if there is one. */
    session: () => (session?.lost.aborted ? undefined : session),
    /**
     * The usable session, waiting for one until `deadline` (on the clock of this connection).
     * @throws HyperscaleError `store-unavailable` when there is none by then.
     */
    async whenReady(deadline: number): Promise<EtcdSession> {
      for (;;) {
        closing.signal.throwIfAborted();
        const left = deadline - clock.now();
        if (left <= 0) throw storeUnavailable('etcd does not answer', 'no');
        if (session !== undefined && !session.lost.aborted) return session;
        // The old gate stays open for the moment between the loss and its discovery.
        if (session !== undefined) await clock.sleep(0);
        else await ready.opened(left, closing.signal);
      }
    },
    /** Ends everything; whoever waits gets an error. */
    async close(): Promise<void> {
      closing.abort(storeUnavailable('the store was closed', 'no'));
      await running;
    },
  };
}

/** Something to wait for with a limit. */
function newGate(clock: Clock) {
  const gate = new AbortController();
  return {
    open: () => gate.abort(),
    /** Resolves when the gate opens, the time is up or `stop` fires. */
    async opened(milliseconds: number, stop: AbortSignal): Promise<void> {
      const signal = AbortSignal.any([gate.signal, stop]);
      await clock.sleep(milliseconds, signal);
    },
  };
}
