/**
 * One connection to one etcd endpoint, used until the first sign that it does not work and then
 * thrown away. Nothing here retries: a repeated transaction is not the same transaction, so that
 * is for those to decide who know what it means.
 */

import type { ICallable, IWatchRequest, IWatchResponse } from 'etcd3';
import { GRPCDeadlineExceededError, KVClient, LeaseClient, WatchClient } from 'etcd3';
import { ConnectionPool, type Host } from 'etcd3/lib/connection-pool.js';
import { errorText } from '../errors.ts';
import { isRefusal } from './etcd-errors.ts';

/** How often a quiet connection is asked for a sign of life. */
const heartbeatMs = 1000;
/** A connection that was silent for so long is given up. */
const silenceMs = 3000;

export type EtcdSession = ReturnType<typeof openSession>;

type Call = { cancel(): void };
type CallOptions = Parameters<ICallable<Host>['exec']>[3];

/** The methods of a service client are made at run time from etcd's protocol definition. */
function callUnary(client: object, method: string, args: unknown[]): Call {
  const call: unknown = Reflect.get(client, method);
  if (typeof call !== 'function') throw new TypeError(`etcd has no method ${method}`);
  return Reflect.apply(call, client, args) as Call;
}

/**
 * Opens a connection; it is established with the first request.
 * @param callTimeoutMs limit of each request, milliseconds.
 */
export function openSession(endpoint: string, callTimeoutMs: number) {
  const pool = new ConnectionPool({
    hosts: [endpoint],
    grpcOptions: {
      // A new session must not inherit the back-off of an old one, nor a proxy meant for others.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_retries': 0,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.max_receive_message_length': -1,
    },
  });
  const lost = new AbortController();
  const calls = new Set<Call>();
  const timers = new Set<NodeJS.Timeout>();

  /** Ends the session: every request under way fails, `lost` fires. */
  function fail(reason: unknown): void {
    if (lost.signal.aborted) return;
    for (const timer of timers) clearInterval(timer);
    lost.abort(reason instanceof Error ? reason : new Error(errorText(reason)));
    for (const call of calls) call.cancel();
    pool.close();
  }

  // etcd3's own `exec` retries up to three times, so this takes its place.
  const channel: ICallable<Host> = {
    callOptionsFactory: undefined,
    markFailed: (_host, error) => fail(error),
    withConnection: (service, use) =>
      pool.withConnection(service, (args) => {
        // A member cut off from the others says so instead of waiting.
        args.metadata.set('hasleader', 'true');
        return use(args);
      }),
    exec: <T>(
      service: Parameters<ICallable<Host>['exec']>[0],
      method: string,
      payload: unknown,
      options?: CallOptions,
    ) =>
      channel.withConnection<T>(service, ({ client, metadata }) => {
        const { promise, resolve, reject } = Promise.withResolvers<T>();
        const deadline = { deadline: Date.now() + callTimeoutMs, ...options };
        const done = (error: Error | null, answer: T) => {
          calls.delete(call);
          if (error === null) resolve(answer);
          else reject(error);
        };
        const call = callUnary(client, method, [payload, metadata, deadline, done]);
        calls.add(call);
        return promise;
      }),
  };

  /**
   * Runs a request. A refusal by etcd leaves the session as it is, and so does a time-out: a disk
   * may be slow. Whether etcd hangs is for the streams to tell, which need no disk.
   */
  async function request<T>(send: () => Promise<T>): Promise<T> {
    lost.signal.throwIfAborted();
    try {
      return await send();
    } catch (error) {
      if (!isRefusal(error) && !(error instanceof GRPCDeadlineExceededError)) fail(error);
      throw error;
    }
  }

  const kv = new KVClient(channel);
  const leases = new LeaseClient(channel);
  const watches = new WatchClient(channel);

  function every(milliseconds: number, action: () => void): void {
    timers.add(setInterval(action, milliseconds));
  }

  type Stream = Call & { on(event: 'error', listener: (error: Error) => void): unknown } & {
    on(event: 'end', listener: () => void): unknown;
  };

  function adopt(stream: Stream, name: string): void {
    stream.on('error', (error) => fail(error));
    stream.on('end', () => fail(new Error(`etcd ended the ${name} stream`)));
    lost.signal.addEventListener('abort', () => stream.cancel(), { once: true });
    if (lost.signal.aborted) stream.cancel();
  }

  return {
    endpoint,
    /** Fires once, when the session cannot be used any more; its reason says why. */
    lost: lost.signal,
    close: (): void => fail(new Error('closed')),
    fail,
    /** Runs `action` repeatedly while the session lasts. */
    every,
    range: (req: Parameters<KVClient['range']>[0]) => request(() => kv.range(req)),
    put: (req: Parameters<KVClient['put']>[0]) => request(() => kv.put(req)),
    txn: (req: Parameters<KVClient['txn']>[0]) => request(() => kv.txn(req)),
    grant: (seconds: number) => request(() => leases.leaseGrant({ TTL: seconds })),

    /** Opens a stream of lease renewals; each answer belongs to the oldest unanswered request. */
    async renewals() {
      const stream = await request(() => leases.leaseKeepAlive());
      adopt(stream, 'lease');
      return stream;
    },

    /**
     * Follows keys from a revision on. Resolves when etcd has accepted the watch. It is asked for
     * its progress all the time: that it still delivers, not just that the connection stands.
     */
    async follow(
      watch: NonNullable<IWatchRequest['create_request']>,
      deliver: (answer: IWatchResponse) => void,
    ): Promise<void> {
      const stream = await request(() => watches.watch());
      const created = Promise.withResolvers<void>();
      created.promise.catch(() => undefined);
      lost.signal.addEventListener('abort', () => created.reject(lost.signal.reason));
      let heardAt = performance.now();
      stream.on('data', (answer) => {
        heardAt = performance.now();
        if (answer.canceled) {
          const compacted = answer.compact_revision !== '0';
          fail(new Error(compacted ? 'the watch fell behind' : answer.cancel_reason));
        } else if (answer.created) created.resolve();
        else if (!lost.signal.aborted) deliver(answer);
      });
      adopt(stream, 'watch');
      lost.signal.throwIfAborted();
      stream.write({ create_request: watch });
      every(heartbeatMs, () => {
        if (performance.now() - heardAt > silenceMs) fail(new Error('etcd went silent'));
        else stream.write({ progress_request: {} });
      });
      await created.promise;
    },
  };
}
