import type { PeerService } from '../../src/api/service.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Peers, RemotePeer } from '../../src/node/peers.ts';
import type { Node } from './node.ts';
import type { NodeRun } from './node-run.ts';
import type { NodeWorld } from './node-world.ts';
import { Pipe } from './pipe.ts';

type Method = keyof PeerService;
type Options = { timeoutMs?: number; signal?: AbortSignal };
/** What comes back over the network: an answer, or what its sender threw. */
export type Reply = { answer: unknown } | { error: HyperscaleError };

const connectTimeoutMs = 2_000;
const defaultTimeoutMs = 30_000;
/** TCP's keep-alive, as the HTTP client sets it, finds out that the other side was rebooted. */
const keepAliveMs = 60_000;
/** Calls that another one of may follow by itself, long after, do no harm; see `duplicate`. */
const repeatable: ReadonlySet<Method> = new Set([
  'prepareLayer',
  'fence',
  'serveLayer',
  'manifest',
]);

/** Calls of one daemon to others over the simulated network. */
export class SimPeers implements Peers {
  readonly #world: NodeWorld;
  readonly #from: Node;
  readonly #run: NodeRun;
  readonly #known: (node: string) => boolean;

  constructor(world: NodeWorld, from: Node, run: NodeRun, known: (node: string) => boolean) {
    this.#world = world;
    this.#from = from;
    this.#run = run;
    this.#known = known;
  }

  of(node: string, options: Options = {}): RemotePeer {
    if (!this.#known(node)) {
      throw new HyperscaleError('not-found', `node ${node} is not registered`);
    }
    const to = this.#world.node(node);
    return new Proxy({} as RemotePeer, {
      get:
        (_, method) =>
        (...parameters: unknown[]) =>
          this.#call(to, method as Method, parameters, options),
    });
  }

  async close(): Promise<void> {}

  #call(to: Node, method: Method, parameters: unknown[], options: Options): Promise<unknown> {
    const { core } = this.#world;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const there = this.#pipe(this.#from, to);
    const back = this.#pipe(to, this.#from);
    let delivered = false;
    const ends: (() => void)[] = [() => there.close(), () => back.drop()];
    const finish = (settle: () => void) => {
      if (ends.length === 0) return;
      for (const end of ends.splice(0)) end();
      settle();
    };
    const fail = (code: 'timeout' | 'node-down' | 'cancelled', text: string) =>
      finish(() => reject(new HyperscaleError(code, text)));
    const { name } = to.machine;
    const { signal } = options;
    if (signal !== undefined) {
      const cancelled = () => fail('cancelled', `${method} on ${name} was cancelled`);
      if (signal.aborted) {
        cancelled();
        return promise;
      }
      signal.addEventListener('abort', cancelled);
      ends.push(() => signal.removeEventListener('abort', cancelled));
    }
    const late = () => fail('timeout', `${name} did not answer ${method} in time`);
    ends.push(this.#run.after(options.timeoutMs ?? defaultTimeoutMs, late));
    // A connection that stands lets the call wait; a new one is given up sooner.
    if (core.random.chance(0.5)) {
      const arrived = this.#run.after(connectTimeoutMs, () => {
        if (!delivered) fail('node-down', `cannot reach ${name}: connect timeout`);
      });
      ends.push(arrived);
    }
    const body = JSON.stringify(parameters);
    const reply = (outcome: Reply) =>
      back.send(() =>
        this.#run.deliver(() =>
          finish(() => ('error' in outcome ? reject(outcome.error) : resolve(outcome.answer))),
        ),
      );
    there.send(() => {
      delivered = true;
      const { boot } = to.machine;
      const probe = this.#run.every(keepAliveMs, () => {
        if (to.machine.powered && to.machine.boot !== boot) fail('node-down', `${name} rebooted`);
      });
      if (ends.length === 0) probe();
      else ends.push(probe);
      to.answer(method, body, reply);
    });
    ends.push(this.#run.onEnd(() => finish(() => undefined)));
    if (repeatable.has(method) && core.random.chance(this.#world.duplicates)) {
      core.scheduler.after(core.random.int(1, 6_000), () => {
        if (to.machine.powered) to.answer(method, body, () => undefined);
      });
    }
    return promise;
  }

  #pipe(from: Node, to: Node): Pipe {
    const { core, network } = this.#world;
    return new Pipe(core, {
      passes: () =>
        network.reachable(from.machine.name, to.machine.name) &&
        to.machine.powered &&
        !to.machine.frozen,
      delay: () => network.delay(from.machine.name, to.machine.name),
    });
  }
}

/** Executes a call that has arrived and gives the reply as it comes out at the other end. */
export async function execute(
  service: PeerService,
  method: Method,
  body: string,
  unexpected: (error: unknown) => void,
): Promise<Reply> {
  try {
    const parameters = JSON.parse(body) as never[];
    const call = service[method] as (...given: never[]) => unknown;
    const answer = await Reflect.apply(call, service, parameters);
    if (Buffer.isBuffer(answer)) return { answer: Buffer.from(answer) };
    return { answer: answer === undefined ? undefined : JSON.parse(JSON.stringify(answer)) };
  } catch (error) {
    if (error instanceof HyperscaleError) {
      const { code, message, hint, values } = error;
      const copied = JSON.parse(JSON.stringify(values)) as Record<string, unknown>;
      const details = { values: copied, ...(hint === undefined ? {} : { hint }) };
      return { error: new HyperscaleError(code, message, details) };
    }
    unexpected(error);
    const text = 'something unexpected went wrong in the daemon';
    return { error: new HyperscaleError('internal', text) };
  }
}
