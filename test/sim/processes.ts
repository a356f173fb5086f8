import type { Engine, HeadSpec } from '../../src/engine/engine.ts';
import type { LayerContent } from '../../src/engine/layer-content.ts';
import type { Checker } from './checker.ts';
import { SimLayerContent } from './content.ts';
import type { Core, Machine, Network } from './core.ts';
import { Disk } from './disk.ts';
import { SimEngine } from './engine.ts';
import { DaemonProcess } from './engine-daemon.ts';
import { Host } from './engine-host.ts';
import type { SimProcess } from './engine-process.ts';

/** A process that a fault can meet; the same object as long as it lives. */
export type Victim = Pick<SimProcess, 'machine' | 'name' | 'kill' | 'freeze' | 'thaw' | 'frozen'>;
/** What the watchdog reads of a head from its run files. */
export type HeadVictim = Victim & { spec: HeadSpec };

/** Everything that runs beside the daemons: heads, replica servers, relays, consumers, and disks. */
export interface Processes {
  /** The seams of a new life of a machine's daemon. */
  daemon(machine: Machine): { engine: Engine; content: LayerContent };
  /** Ends that life: its handles do nothing more and its promises never settle. */
  daemonGone(machine: Machine): void;
  /** All processes of a machine die at once; what was not flushed is kept, lost or torn. */
  powerCut(machine: Machine): void;
  boot(machine: Machine): void;
  heads(): HeadVictim[];
  replicaServers(): Victim[];
  proxies(): Victim[];
  gateways(): Victim[];
  disk(machine: Machine): Disk;
  /** Chance of a process of this machine not to start. */
  setSpawnFailures(machine: Machine, probability: number): void;
  /** Whether the replica server of `to` answers `from` that it exports the layer for writing. */
  exportsSeen(from: Machine, to: Machine, layer: string): boolean;
  /** Whether the replica server of `to` answers `from`. */
  replicaAnswers(from: Machine, to: Machine): boolean;
  /** What is on a machine; for consumers and checks. */
  host(machine: Machine): Host;
}

export function createProcesses(
  core: Core,
  network: Network,
  machines: Machine[],
  checker: Checker,
): Processes {
  return new SimProcesses(core, network, machines, checker);
}

class SimProcesses implements Processes {
  readonly #core: Core;
  readonly #network: Network;
  readonly #checker: Checker;
  readonly #hosts = new Map<string, Host>();
  readonly #daemons = new Map<string, DaemonProcess>();

  constructor(core: Core, network: Network, machines: Machine[], checker: Checker) {
    this.#core = core;
    this.#network = network;
    this.#checker = checker;
    const named = (name: string) => this.#hosts.get(name);
    for (const machine of machines) {
      const disk = new Disk(core, machine, checker);
      this.#hosts.set(machine.name, new Host(core, network, machine, disk, named));
    }
    checker.disks = machines.map((m) => this.disk(m));
    checker.headServes = (volume, session) =>
      [...this.#hosts.values()].some((host) =>
        [...host.heads].some((h) => h.spec.volume === volume && h.serves(session)),
      );
    checker.heads = () => this.heads();
  }

  daemon(machine: Machine): { engine: Engine; content: LayerContent } {
    this.daemonGone(machine);
    const daemon = new DaemonProcess(this.#core, machine, 'daemon');
    this.#daemons.set(machine.name, daemon);
    const host = this.host(machine);
    const engine = new SimEngine(daemon, host, this.#checker);
    return { engine, content: new SimLayerContent(daemon, host, engine.layers) };
  }

  daemonGone(machine: Machine): void {
    this.#daemons.get(machine.name)?.kill();
    this.#daemons.delete(machine.name);
  }

  powerCut(machine: Machine): void {
    machine.powered = false;
    machine.frozen = false;
    this.daemonGone(machine);
    const host = this.host(machine);
    for (const process of host.processes()) process.kill();
    host.replica = null;
    host.sockets.clear();
    host.disk.powerCut();
  }

  boot(machine: Machine): void {
    machine.powered = true;
  }

  heads(): HeadVictim[] {
    return this.#all((host) => [...host.heads]);
  }

  replicaServers(): Victim[] {
    return this.#all(({ replica }) => (replica?.alive === true ? [replica] : []));
  }

  proxies(): Victim[] {
    return this.#all((host) => [...host.proxies.keys()]);
  }

  gateways(): Victim[] {
    return this.#all((host) => [...host.gateways.keys()]);
  }

  disk(machine: Machine): Disk {
    return this.host(machine).disk;
  }

  setSpawnFailures(machine: Machine, probability: number): void {
    this.host(machine).spawnFailures = probability;
  }

  exportsSeen(from: Machine, to: Machine, layer: string): boolean {
    return this.replicaAnswers(from, to) && this.host(to).replica?.hasWritable(layer) === true;
  }

  replicaAnswers(from: Machine, to: Machine): boolean {
    const { replica } = this.host(to);
    const connected =
      this.#network.reachable(from.name, to.name) && this.#network.reachable(to.name, from.name);
    return connected && to.powered && replica?.alive === true && !replica.frozen;
  }

  host(machine: Machine): Host {
    const host = this.#hosts.get(machine.name);
    if (host === undefined) throw new Error(`there is no machine ${machine.name}`);
    return host;
  }

  #all<T>(of: (host: Host) => T[]): T[] {
    return [...this.#hosts.values()].flatMap(of);
  }
}
