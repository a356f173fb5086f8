import type { ProxySpec } from '../../src/engine/engine.ts';
import type { Core, Machine, Network } from './core.ts';
import type { Disk } from './disk.ts';
import { type Dial, NbdClient } from './engine-client.ts';
import { type BlockServer, Connection } from './engine-connection.ts';
import type { SimProcess } from './engine-process.ts';
import type { HeadProcess } from './head.ts';
import type { GatewaySpec, RelayProcess } from './relay.ts';
import type { ReplicaProcess } from './replica.ts';
import type { StreamProcess } from './stream-process.ts';

/** A TCP connection attempt that got no answer is given up after this. */
const dialMs = 1_500;
const queueLookMs = 20;

/** A volume's attachment socket; without a server, who connects waits in its queue. */
export type AttachSocket = { server: BlockServer | null };

/** All that runs on one machine apart from its daemon. */
export class Host {
  readonly core: Core;
  readonly machine: Machine;
  readonly network: Network;
  readonly disk: Disk;
  readonly sockets = new Map<string, AttachSocket>();
  readonly heads = new Set<HeadProcess>();
  readonly proxies = new Map<RelayProcess, ProxySpec>();
  readonly gateways = new Map<RelayProcess, GatewaySpec>();
  readonly consumers = new Set<SimProcess>();
  /** What serves backups to heads, by the layer that it stands for. */
  readonly streams = new Map<string, StreamProcess>();
  replica: ReplicaProcess | null = null;
  /** Chance of a process not to start. */
  spawnFailures = 0;
  nextPort = 20_000;
  readonly #hostNamed: (name: string) => Host | undefined;

  constructor(
    core: Core,
    network: Network,
    machine: Machine,
    disk: Disk,
    hostNamed: (name: string) => Host | undefined,
  ) {
    this.core = core;
    this.network = network;
    this.machine = machine;
    this.disk = disk;
    this.#hostNamed = hostNamed;
  }

  /** Every process that a power cut ends. */
  processes(): SimProcess[] {
    const servers = [...this.heads, ...this.proxies.keys(), ...this.gateways.keys()];
    const all = [...servers, ...this.streams.values(), ...this.consumers];
    return this.replica === null ? all : [...all, this.replica];
  }

  /** Whether a head or the replica server of this machine has the file of a layer open. */
  hasOpen(layer: string): boolean {
    const read = [...this.heads].flatMap(({ spec }) => [...spec.sealed, spec.open]);
    return read.some((s) => s.local && s.layer.layer === layer) || this.#exported(layer);
  }

  #exported(layer: string): boolean {
    return this.replica?.exports().some((e) => e.key.layer === layer) === true;
  }

  /** A process's link to a layer on another machine's replica server. */
  linkTo(client: SimProcess, node: string, layer: string, writes: boolean): NbdClient {
    return new NbdClient(client, (done) => {
      this.dial(client, node, layer, (host) => host.replica, done, writes);
    });
  }

  /** A process's link to a backup that is served in place of a layer. */
  streamTo(client: SimProcess, node: string, layer: string, port: number): NbdClient {
    const find = ({ streams }: Host) => {
      const stream = streams.get(layer);
      return stream?.port === port ? stream : null;
    };
    return new NbdClient(client, (done) => this.dial(client, node, layer, find, done, false));
  }

  /** Connects to a gateway on another machine. */
  gatewayDial(client: SimProcess, node: string, port: number, session: string): Dial {
    const find = (host: Host) =>
      [...host.gateways].find(([relay, spec]) => relay.alive && spec.port === port)?.[0] ?? null;
    return (done) => this.dial(client, node, session, find, done);
  }

  /** Connects to the attachment socket of this machine; waits in its queue while nobody serves. */
  localDial(client: SimProcess, volume: string, session: string): Dial {
    return (done) => {
      const socket = this.sockets.get(volume);
      if (socket === undefined) {
        client.after(1, () => done(null));
        return;
      }
      const look = () => {
        if (this.sockets.get(volume) !== socket) {
          done(null);
          return;
        }
        const { server } = socket;
        if (server?.alive !== true) {
          client.after(queueLookMs, look);
          return;
        }
        // A server that dies before it has looked resets who connected to it.
        const off = server.onGone(() => client.after(0.1, () => done(null)));
        server.whenRunning(() => {
          off();
          const connection = new Connection(this.network, client, server, session, true);
          const open = server.opened(connection);
          client.after(0.1, () => done(open && server.alive ? connection : null));
        });
      };
      client.after(0.1, look);
    };
  }

  /** One attempt over the network. */
  dial(
    client: SimProcess,
    node: string,
    exportName: string,
    find: (host: Host) => BlockServer | null,
    done: (connection: Connection | null) => void,
    writes = true,
  ): void {
    const there = this.#hostNamed(node);
    let over = false;
    const once = (connection: Connection | null) => {
      if (over) {
        connection?.close();
        return;
      }
      over = true;
      cancel();
      // Its server may have died while the answer was on its way.
      done(connection?.closed === true ? null : connection);
    };
    const cancel = client.after(dialMs, () => once(null));
    if (there === undefined) return;
    const { name: from } = this.machine;
    this.network.send(from, node, () => {
      const server = find(there);
      if (!there.machine.powered || there.machine.frozen) return;
      const answer = (connection: Connection | null) => {
        this.network.send(node, from, () => client.whenRunning(() => once(connection)));
      };
      if (server?.alive !== true) {
        answer(null);
        return;
      }
      server.whenRunning(() => {
        const connection = new Connection(this.network, client, server, exportName, writes);
        answer(server.opened(connection) ? connection : null);
      });
    });
  }
}
