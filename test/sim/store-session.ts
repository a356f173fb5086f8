import { GRPCDeadlineExceededError, type ITxnRequest, type IWatchResponse } from 'etcd3';
import { errorText } from '../../src/errors.ts';
import { isRefusal } from '../../src/store/etcd-errors.ts';
import type { EtcdSession } from '../../src/store/etcd-session.ts';
import type { Core } from './core.ts';
import { etcdPlace, type SimNetwork } from './network.ts';
import type { NodeRun } from './node-run.ts';
import { Pipe } from './pipe.ts';
import type { EtcdServer } from './store-server.ts';

const heartbeatMs = 1_000;
const silenceMs = 3_000;

export type StoreLink = {
  core: Core;
  network: SimNetwork;
  etcd: EtcdServer;
  /** The machine that the client runs on. */
  machine: string;
  run: NodeRun;
  /** How far what this client is told lags behind now, milliseconds. */
  lag: () => number;
};

type Renewals = Awaited<ReturnType<EtcdSession['renewals']>>;

/** One connection of one daemon to the simulated etcd, with the manners of the real one. */
export function openSimSession(link: StoreLink, callTimeoutMs: number): EtcdSession {
  const { core, network, etcd, machine, run } = link;
  const lost = new AbortController();
  const pending = new Set<(error: Error) => void>();
  const ends: (() => void)[] = [];
  const up = new Pipe(core, {
    passes: () => network.reachable(machine, etcdPlace),
    delay: () => network.delay(machine, etcdPlace),
  });
  const back = (lag: () => number) =>
    new Pipe(core, {
      passes: () => network.reachable(etcdPlace, machine),
      delay: () => network.delay(etcdPlace, machine) + lag(),
    });
  const down = back(() => 0);
  // A stream of its own: an answer may tell of what the watch has not told yet.
  const news = back(link.lag);

  /** What the kernel does when the client's side is closed, or its process has ended. */
  function hangUp(): void {
    up.close();
    down.drop();
    news.drop();
    for (const end of ends.splice(0)) end();
  }

  function fail(reason: unknown): void {
    if (lost.signal.aborted) return;
    const error = reason instanceof Error ? reason : new Error(errorText(reason));
    lost.abort(error);
    hangUp();
    for (const reject of pending) reject(error);
    pending.clear();
  }

  function reset(): void {
    up.drop();
    core.scheduler.after(network.delay(etcdPlace, machine), () =>
      run.deliver(() => fail(new Error('connection reset'))),
    );
  }

  ends.push(etcd.onReset(reset), run.onEnd(hangUp));

  /** Sends something to etcd; `work` is done there when it arrives. */
  function transmit(work: () => void): void {
    up.send(() => {
      if (etcd.down) reset();
      else etcd.receive(work);
    });
  }

  /** Lets the client hear something. */
  function tell(hear: () => void): void {
    down.send(() => run.deliver(() => !lost.signal.aborted && hear()));
  }

  /** Lets the client hear of a change. */
  function tellNews(hear: () => void): void {
    news.send(() => run.deliver(() => !lost.signal.aborted && hear()));
  }

  async function request<T>(work: () => T): Promise<T> {
    lost.signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    pending.add(reject);
    const cancel = run.after(callTimeoutMs, () =>
      reject(new GRPCDeadlineExceededError('4 DEADLINE_EXCEEDED')),
    );
    transmit(() => {
      try {
        const answer = work();
        tell(() => resolve(answer));
      } catch (error) {
        tell(() => reject(error));
      }
    });
    try {
      return await promise;
    } catch (error) {
      if (!isRefusal(error) && !(error instanceof GRPCDeadlineExceededError)) fail(error);
      throw error;
    } finally {
      cancel();
      pending.delete(reject);
    }
  }

  function every(milliseconds: number, action: () => void): void {
    const cancel = run.every(milliseconds, action);
    lost.signal.addEventListener('abort', cancel);
  }

  async function renewals(): Promise<Renewals> {
    let listener: (answer: { ID: string; TTL: string }) => void = () => undefined;
    const stream = {
      on(event: string, heard: typeof listener) {
        if (event === 'data') listener = heard;
      },
      write({ ID }: { ID: string }) {
        transmit(() => {
          const TTL = String(etcd.renew(ID));
          tell(() => listener({ ID, TTL }));
        });
      },
      cancel: () => undefined,
    };
    return stream as unknown as Renewals;
  }

  async function follow(
    watch: { key?: Buffer; start_revision?: string | number },
    deliver: (answer: IWatchResponse) => void,
  ): Promise<void> {
    let heardAt = core.scheduler.now();
    const prefix = watch.key?.toString('utf8') ?? '';
    const hear = (answer: IWatchResponse) => {
      heardAt = core.scheduler.now();
      deliver(answer);
    };
    await request(() => {
      const end = etcd.watch(prefix, Number(watch.start_revision), (answer) =>
        tellNews(() => hear(answer)),
      );
      if (end === undefined) tell(() => fail(new Error('the watch fell behind')));
      else if (lost.signal.aborted || run.gone) end();
      else ends.push(end);
    });
    every(heartbeatMs, () => {
      const now = core.scheduler.now();
      if (now - heardAt > silenceMs) fail(new Error('etcd went silent'));
      // Stands for a question and its answer, which nothing but these conditions depends on.
      else if (etcd.answers && passes(network, machine)) heardAt = now;
    });
  }

  return {
    endpoint: 'etcd',
    lost: lost.signal,
    close: () => fail(new Error('closed')),
    fail,
    every,
    range: (req) => request(() => etcd.range(req)),
    put: (req) => request(() => ({ header: etcd.put(req), prev_kv: undefined as never })),
    txn: (req: ITxnRequest) => request(() => etcd.txn(req)),
    grant: (seconds) =>
      request(() => ({
        header: undefined as never,
        ID: etcd.grant(seconds),
        TTL: String(seconds),
        error: '',
      })),
    renewals,
    follow,
  };
}

function passes(network: SimNetwork, machine: string): boolean {
  return network.reachable(machine, etcdPlace) && network.reachable(etcdPlace, machine);
}
