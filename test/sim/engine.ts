import type {
  Engine,
  GatewayHandle,
  HeadHandle,
  HeadSpec,
  PreparedHead,
  ProxyHandle,
  ProxySpec,
} from '../../src/engine/engine.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Checker } from './checker.ts';
import type { DaemonProcess } from './engine-daemon.ts';
import type { AttachSocket, Host } from './engine-host.ts';
import { HeadProcess } from './head.ts';
import { SimHead } from './head-handle.ts';
import { SimLayerStore } from './layer-store.ts';
import { type GatewaySpec, RelayProcess, SimGateway, SimProxy } from './relay.ts';
import { SimReplicaServer } from './replica-server.ts';

const spawnMs = [10, 80] as const;
const adoptTimeoutMs = 2_000;
const lockTimeoutMs = 2_000;
const lockLookMs = 20;
const relayOpenMs = 10_000;

/** The engine of one life of a machine's daemon. */
export class SimEngine implements Engine {
  readonly replicas: SimReplicaServer;
  readonly layers: SimLayerStore;
  readonly #daemon: DaemonProcess;
  readonly #host: Host;
  readonly #checker: Checker;

  constructor(daemon: DaemonProcess, host: Host, checker: Checker) {
    this.#daemon = daemon;
    this.#host = host;
    this.#checker = checker;
    this.replicas = new SimReplicaServer(daemon, host);
    this.layers = new SimLayerStore(daemon, host.disk);
  }

  async adopt(): ReturnType<Engine['adopt']> {
    const { heads, proxies, gateways } = this.#host;
    const hung = [...heads, ...proxies.keys(), ...gateways.keys()].filter((p) => p.frozen);
    await this.#daemon.wait(hung.length > 0 ? adoptTimeoutMs : 2);
    for (const process of hung) if (process.frozen) process.kill();
    return {
      heads: [...heads].map((head) => new SimHead(this.#daemon, head)),
      proxies: [...proxies].map(([p, spec]) => new SimProxy(this.#daemon, p, spec)),
      gateways: [...gateways].map(([p, spec]) => new SimGateway(this.#daemon, p, spec)),
    };
  }

  attachSockets(): string[] {
    return [...this.#host.sockets.keys()];
  }

  attachSocket(volume: string): string {
    return `/run/attach/${volume}.sock`;
  }

  async removeAttachSocket(volume: string): Promise<void> {
    await this.#daemon.wait(1);
    this.#host.sockets.delete(volume);
  }

  async prepareHead(volume: string, listener: 'new' | 'waiting' = 'new'): Promise<PreparedHead> {
    await this.#spawn();
    const socket = this.#listen(volume, listener === 'new');
    return {
      serve: (spec) => this.#serve(spec, socket),
      abandon: () => this.#daemon.wait(2),
    };
  }

  async startProxy(
    volume: string,
    where: Promise<ProxySpec>,
    listens: () => void,
    signal: AbortSignal,
  ): Promise<ProxyHandle> {
    where.catch(() => undefined);
    await this.#spawn();
    const socket = this.#listen(volume, false);
    listens();
    const spec = await where;
    const { core, machine } = this.#host;
    const node = [spec.headNode];
    const relay = new RelayProcess(core, machine, `proxy to ${node}`, spec.session, (owner) =>
      this.#host.gatewayDial(owner, spec.headNode, spec.port, spec.session),
    );
    this.#host.proxies.set(relay, spec);
    relay.onGone(() => this.#host.proxies.delete(relay));
    const kill = () => relay.kill();
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    await this.#ready(relay);
    signal.removeEventListener('abort', kill);
    socket.server = relay;
    return new SimProxy(this.#daemon, relay, spec);
  }

  async startGateway(
    volume: string,
    session: string,
    sizeBytes: number,
    options: { port?: number } = {},
  ): Promise<GatewayHandle> {
    await this.#spawn();
    const { core, machine } = this.#host;
    const port = options.port ?? this.#host.nextPort++;
    const spec: GatewaySpec = { volume, session, port, sizeBytes };
    const relay = new RelayProcess(core, machine, 'gateway', session, (owner) =>
      this.#host.localDial(owner, volume, session),
    );
    this.#host.gateways.set(relay, spec);
    relay.onGone(() => this.#host.gateways.delete(relay));
    await this.#ready(relay);
    return new SimGateway(this.#daemon, relay, spec);
  }

  async #serve(spec: HeadSpec, socket: AttachSocket): Promise<HeadHandle> {
    await this.#locksGone(spec);
    await this.#spawn();
    const { core } = this.#host;
    const head = new HeadProcess(core, this.#host, this.#checker, spec);
    this.#host.heads.add(head);
    head.onGone(() => {
      this.#host.heads.delete(head);
      this.#checker.headEnded(spec);
    });
    const error = await this.#daemon.ask<string | null>((resolve) => {
      head.onGone(() => resolve('it ended at once'));
      head.build((failure) => {
        if (failure === null) {
          this.#checker.headStarted(this.#host.machine, spec);
          socket.server = head;
        } else {
          head.kill();
        }
        resolve(failure);
      });
    });
    if (error !== null) {
      throw new HyperscaleError('engine', `qemu-storage-daemon did not start: ${error}`);
    }
    const members = [...(spec.open.local ? ['here'] : []), ...spec.open.peers.map((p) => p.node)];
    head.note(`serves ${spec.volume.slice(0, 8)} on ${members.join(', ')}`);
    return new SimHead(this.#daemon, head);
  }

  /** QEMU refuses a file that another process may write. */
  async #locksGone(spec: HeadSpec): Promise<void> {
    const files = [...spec.sealed, spec.open].filter((s) => s.local).map((s) => s.layer.layer);
    const locked = () => {
      const heads = [...this.#host.heads].map((h) => h.spec.open.layer.layer);
      const exported = this.#host.replica?.exports() ?? [];
      const writable = exported.filter((e) => e.writable).map((e) => e.key.layer);
      return files.some((f) => heads.includes(f) || writable.includes(f));
    };
    for (let waited = 0; locked(); waited += lockLookMs) {
      if (waited > lockTimeoutMs) {
        throw new HyperscaleError('engine', 'Failed to get "write" lock');
      }
      await this.#daemon.wait(lockLookMs);
    }
  }

  async #ready(relay: RelayProcess): Promise<void> {
    const open = await this.#daemon.ask<boolean>((resolve) => {
      relay.onGone(() => resolve(false));
      if (relay.alive) relay.ready(relayOpenMs, resolve);
      else resolve(false);
    });
    if (open) return;
    relay.kill();
    throw new HyperscaleError('engine', 'qemu-storage-daemon did not start: cannot connect');
  }

  #listen(volume: string, fresh: boolean): AttachSocket {
    const present = this.#host.sockets.get(volume);
    if (present !== undefined && !fresh) return present;
    const socket: AttachSocket = { server: null };
    this.#host.sockets.set(volume, socket);
    return socket;
  }

  async #spawn(): Promise<void> {
    const { random } = this.#daemon.core;
    await this.#daemon.wait(random.int(...spawnMs));
    if (random.chance(this.#host.spawnFailures)) {
      throw new HyperscaleError('engine', 'cannot listen: it ended at once');
    }
  }
}
