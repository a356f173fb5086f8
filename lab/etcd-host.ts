/** A host of a lab that runs nothing but etcd, as an operator's own etcd would be. */
import type { ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HyperscaleError } from '../src/errors.ts';
import { ended, inNamespace, spawnLogged, untilAnswering } from './child.ts';
import type { LabNetwork } from './net.ts';
import { signal } from './processes.ts';

/** etcd's own default ports (etcd configuration reference). */
const clientPort = 2379;
const peerPort = 2380;

export class EtcdHost {
  readonly name: string;
  /** What daemons get as their `etcd` endpoint. */
  readonly endpoint: string;
  readonly logFile: string;
  readonly #data: string;
  readonly #command: string[];
  /** Options of the one member, for etcd and for `etcdctl snapshot restore`. */
  readonly #member: string[];
  readonly #network: LabNetwork;
  #child: ChildProcess | undefined;

  /** The host `name` must exist in `network`; `base` is the lab's directory. */
  constructor(network: LabNetwork, base: string, name: string) {
    const directory = join(base, name);
    mkdirSync(directory);
    const peer = `http://${network.address(name)}:${peerPort}`;
    this.name = name;
    this.endpoint = `http://${network.address(name)}:${clientPort}`;
    this.logFile = join(directory, 'etcd.log');
    this.#network = network;
    this.#data = join(directory, 'data');
    this.#command = ['etcd', '--data-dir', this.#data];
    this.#command.push('--listen-client-urls', this.endpoint, '--listen-peer-urls', peer);
    this.#command.push('--advertise-client-urls', this.endpoint);
    this.#member = ['--name', name, '--initial-cluster', `${name}=${peer}`];
    this.#member.push('--initial-advertise-peer-urls', peer);
    this.#command.push(...this.#member);
  }

  /** Starts etcd on its data; resolves once it is healthy. */
  async start(): Promise<void> {
    const child = spawnLogged(this.#placed(this.#command), this.logFile);
    this.#child = child;
    const health = ['etcdctl', '--endpoints', this.endpoint, 'endpoint', 'health'];
    const answers = async (): Promise<boolean> => {
      const asked = spawnLogged(this.#placed(['env', 'ETCDCTL_API=3', ...health]), '/dev/null');
      return (await ended(asked)) === 'exit status 0';
    };
    await untilAnswering('etcd', child, this.logFile, answers, 30_000);
  }

  #placed(command: string[]): string[] {
    return inNamespace(this.#network.namespace(this.name), command);
  }

  #signal(name: NodeJS.Signals): void {
    if (this.#child?.pid !== undefined && this.#child.exitCode === null) {
      signal(this.#child.pid, name);
    }
  }

  /** Loses all that etcd holds; it must not run. The next `start` begins with an empty one. */
  erase(): void {
    rmSync(this.#data, { recursive: true, force: true });
  }

  /** Keeps a copy of all that etcd holds; it must not run. */
  keepCopy(): void {
    cpSync(this.#data, `${this.#data}.copy`, { recursive: true });
  }

  /** Brings the copy back in place of what etcd holds; it must not run. */
  setBack(): void {
    this.erase();
    cpSync(`${this.#data}.copy`, this.#data, { recursive: true });
  }

  /** Saves all that etcd holds now to a file, as an operator's backup does; it must run. */
  async saveSnapshot(file: string): Promise<void> {
    await this.#etcdctl(['--endpoints', this.endpoint, 'snapshot', 'save', file]);
  }

  /** Replaces what etcd holds by a saved snapshot; it must not run. */
  async restoreSnapshot(file: string): Promise<void> {
    this.erase();
    await this.#etcdctl(['snapshot', 'restore', file, '--data-dir', this.#data, ...this.#member]);
  }

  async #etcdctl(args: string[]): Promise<void> {
    const command = this.#placed(['env', 'ETCDCTL_API=3', 'etcdctl', ...args]);
    const end = await ended(spawnLogged(command, this.logFile));
    if (end !== 'exit status 0') {
      throw new HyperscaleError('internal', `etcdctl ${args.join(' ')}: ${end}`, {
        hint: `See ${this.logFile}.`,
      });
    }
  }

  /** Ends etcd by SIGKILL and waits for it; `start` continues on the same data. */
  async kill(): Promise<void> {
    if (this.#child !== undefined) {
      this.#signal('SIGKILL');
      await ended(this.#child);
    }
  }

  freeze(): void {
    this.#signal('SIGSTOP');
  }

  thaw(): void {
    this.#signal('SIGCONT');
  }

  /** Lets this process end while etcd runs on. */
  detach(): void {
    this.#child?.unref();
  }
}
