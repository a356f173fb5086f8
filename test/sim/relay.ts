import type { GatewayHandle, ProxyHandle, ProxySpec } from '../../src/engine/engine.ts';
import type { Core, Machine } from './core.ts';
import type { Dial } from './engine-client.ts';
import { NbdClient } from './engine-client.ts';
import type { BlockRequest, BlockServer, Connection, ReplyTo } from './engine-connection.ts';
import type { DaemonProcess } from './engine-daemon.ts';
import { SimProcess } from './engine-process.ts';

const killMs = 3;

export type GatewaySpec = { volume: string; session: string; port: number; sizeBytes: number };

/** A process that serves one export of another process, and repeats what was not answered. */
export class RelayProcess extends SimProcess implements BlockServer {
  readonly session: string;
  readonly #upstream: NbdClient;
  readonly #clients = new Set<Connection>();
  #blocks = 0;

  constructor(
    core: Core,
    machine: Machine,
    name: string,
    session: string,
    dial: (owner: SimProcess) => Dial,
  ) {
    super(core, machine, name);
    this.session = session;
    this.#upstream = new NbdClient(this, dial(this));
  }

  /** Calls back with true when it reaches what it relays. */
  ready(timeoutMs: number, done: (open: boolean) => void): void {
    this.#upstream.opened(timeoutMs, (open) => {
      this.#blocks = this.#upstream.blocks;
      done(open);
    });
  }

  /** It goes on with the size that it began with, whatever is behind it later. */
  get blocks(): number {
    return this.#blocks;
  }

  opened(connection: Connection): boolean {
    const open = connection.exportName === this.session;
    if (open) this.#clients.add(connection);
    return open;
  }

  /** How many clients are connected. */
  connections(): number {
    return [...this.#clients].filter((connection) => connection.served).length;
  }

  serve(_connection: Connection, request: BlockRequest, reply: ReplyTo): void {
    if (request.block < this.#blocks) this.#upstream.request(request, reply);
    else reply({ ok: false, error: 'EINVAL' });
  }

  protected override ended(): void {
    this.#upstream.close();
  }
}

/** What is the same for proxies and gateways, as one life of the daemon knows them. */
class RelayHandle {
  readonly #daemon: DaemonProcess;
  readonly #process: RelayProcess;
  #ending = false;

  constructor(daemon: DaemonProcess, process: RelayProcess) {
    this.#daemon = daemon;
    this.#process = process;
  }

  onExit(listener: () => void): void {
    const exited = () => {
      if (!this.#ending) listener();
    };
    if (!this.#process.alive) this.#daemon.after(0, exited);
    else this.#process.onGone(() => this.#daemon.whenRunning(exited));
  }

  async kill(): Promise<void> {
    this.#ending = true;
    await this.#daemon.wait(1);
    this.#process.kill();
    await this.#daemon.wait(killMs);
  }
}

export class SimProxy extends RelayHandle implements ProxyHandle {
  readonly spec: ProxySpec;
  readonly #process: RelayProcess;

  constructor(daemon: DaemonProcess, process: RelayProcess, spec: ProxySpec) {
    super(daemon, process);
    this.spec = spec;
    this.#process = process;
  }

  connections(): number {
    return this.#process.connections();
  }
}

export class SimGateway extends RelayHandle implements GatewayHandle {
  readonly volume: string;
  readonly session: string;
  readonly port: number;
  readonly sizeBytes: number;

  constructor(daemon: DaemonProcess, process: RelayProcess, spec: GatewaySpec) {
    super(daemon, process);
    this.volume = spec.volume;
    this.session = spec.session;
    this.port = spec.port;
    this.sizeBytes = spec.sizeBytes;
  }
}
