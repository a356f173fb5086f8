/** A whole HyperScale cluster on this machine: the one fixture of the demo, tests and benchmark. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HyperscaleError } from '../src/errors.ts';
import type { LabApi } from './api.ts';
import { EtcdHost } from './etcd-host.ts';
import { createHome, destroyLab, type LabRecord, writeRecord } from './home.ts';
import { LabNetwork } from './net.ts';
import { LabNode } from './node.ts';
import { onProcessEnd } from './process-end.ts';
import { waitForVolume } from './wait-for-volume.ts';

/** A loaded machine starts etcd and daemons slowly. */
const seenTimeoutMs = 60_000;

/** The daemon's default client port of a managed etcd. */
const managedClientPort = 7482;

export type ClusterOptions = {
  nodes: string[];
  /**
   * The host whose daemon manages etcd; default: the first node. Take one that the test does not
   * cut off: the cluster's metadata are there alone.
   */
  etcdNode?: string;
  /**
   * The name of one more host that runs nothing but etcd, in place of a managed one: then every
   * node can lose its power, and etcd can be killed without a daemon.
   */
  etcdHost?: string;
  /**
   * Settings of every daemon's configuration file, over the lab's own; may depend on the lab's
   * directory and on the node.
   */
  config?: Record<string, unknown> | ((directory: string, node: string) => Record<string, unknown>);
  /** Where the lab's directory is made; default: the system's temporary directory. */
  baseDirectory?: string;
  /** Make everything, but start no daemon. */
  start?: boolean;
};

export class LabCluster {
  readonly id: string;
  readonly directory: string;
  readonly network: LabNetwork;
  readonly secret: string;
  readonly #record: LabRecord;
  readonly #nodes = new Map<string, LabNode>();
  readonly #forget: () => void;
  #etcd: EtcdHost | undefined;

  private constructor(record: LabRecord, network: LabNetwork, secret: string, forget: () => void) {
    this.#record = record;
    this.id = record.id;
    this.directory = record.directory;
    this.network = network;
    this.secret = secret;
    this.#forget = forget;
  }

  /**
   * Makes the network, the directories and the daemons; resolves when all of them answer.
   * After a failure nothing is left. The lab is destroyed when this process ends, unless `keep`.
   */
  static async create(options: ClusterOptions): Promise<LabCluster> {
    const first = options.etcdNode ?? options.nodes[0];
    if (first === undefined || !options.nodes.includes(first)) {
      const names = options.nodes.join(', ');
      throw new HyperscaleError('bad-input', `etcdNode '${first}' is none of '${names}'`);
    }
    const record = createHome(options.baseDirectory);
    const forget = onProcessEnd(() => destroyLab(record));
    let cluster: LabCluster | undefined;
    try {
      const network = await LabNetwork.create(record);
      cluster = new LabCluster(record, network, randomBytes(32).toString('hex'), forget);
      await cluster.#addHosts(options, first);
      if (options.start !== false) {
        await cluster.start(first);
      }
      return cluster;
    } catch (error) {
      await cluster?.destroy();
      forget();
      destroyLab(record);
      throw error;
    }
  }

  async #addHosts(options: ClusterOptions, first: string): Promise<void> {
    const secretFile = join(this.directory, 'secret');
    writeFileSync(secretFile, `${this.secret}\n`, { mode: 0o600 });
    for (const name of options.nodes) {
      await this.network.addNode(name);
    }
    let endpoint = `http://${this.network.address(first)}:${managedClientPort}`;
    if (options.etcdHost !== undefined) {
      await this.network.addNode(options.etcdHost);
      this.#etcd = new EtcdHost(this.network, this.directory, options.etcdHost);
      endpoint = this.#etcd.endpoint;
    }
    for (const name of options.nodes) {
      const managed = name === first && options.etcdHost === undefined;
      const etcd = managed ? ('managed' as const) : [endpoint];
      const { config } = options;
      const more = typeof config === 'function' ? config(this.directory, name) : config;
      const settings = { etcd, secretFile, ...more };
      this.#nodes.set(name, new LabNode(this.network, this.directory, name, settings));
    }
  }

  /**
   * Starts etcd's own host if any, then `first` (which else manages etcd), then all others; resolves
   * when each of them sees all the others as up.
   */
  async start(first: string): Promise<void> {
    await this.#etcd?.start();
    await this.node(first).start();
    const others = this.nodes.filter((node) => node.name !== first);
    await Promise.all(others.map((node) => node.start()));
    await Promise.all(this.nodes.map((node) => this.#seesAll(node)));
  }

  async #seesAll(node: LabNode): Promise<void> {
    const until = Date.now() + seenTimeoutMs;
    for (;;) {
      const { nodes } = await node.api.call<{ nodes: { up: boolean }[] }>('GET', '/v1/nodes');
      if (nodes.filter((n) => n.up).length === this.#nodes.size) return;
      if (Date.now() > until) {
        throw new HyperscaleError(
          'timeout',
          `${node.name} does not see all nodes of the lab as up`,
        );
      }
      await sleep(20);
    }
  }

  /** The host of etcd alone. Throws `not-found` in a lab without `etcdHost`. */
  get etcd(): EtcdHost {
    if (this.#etcd === undefined) {
      throw new HyperscaleError('not-found', 'etcd has no host of its own in this lab');
    }
    return this.#etcd;
  }

  get nodes(): LabNode[] {
    return [...this.#nodes.values()];
  }

  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      throw new HyperscaleError('not-found', `no node '${name}' in this lab`);
    }
    return node;
  }

  /**
   * Resolves with the volume's representation once `predicate` holds. Asks the node `via`, else
   * any node whose daemon runs.
   *
   * @throws HyperscaleError `timeout` quoting the last state seen
   */
  async waitForVolume<T = Record<string, unknown>>(
    volume: string,
    predicate: (volume: T) => boolean,
    timeoutMs: number,
    via?: string,
  ): Promise<T> {
    let turn = 0;
    const api = (): LabApi => {
      if (via !== undefined) {
        return this.node(via).api;
      }
      // Another one each time: a node that runs may be frozen or cut off from etcd.
      const running = this.nodes.filter((node) => node.running);
      const node = running[turn++ % Math.max(1, running.length)];
      if (node === undefined) {
        throw new HyperscaleError('unavailable', 'no daemon of this lab runs');
      }
      return node.api;
    };
    return waitForVolume({ volume, predicate, timeoutMs, api });
  }

  /** Ends all processes and removes all namespaces and, unless `keepFiles`, files. Idempotent. */
  async destroy(options: { keepFiles?: boolean } = {}): Promise<void> {
    this.#forget();
    destroyLab(this.#record, options.keepFiles);
    await this.#detach();
  }

  /** Lets the lab outlive this process; `node lab/down.ts DIRECTORY` destroys it later. */
  async keep(): Promise<void> {
    this.#record.kept = true;
    writeRecord(this.#record);
    this.#forget();
    await this.#detach();
  }

  async #detach(): Promise<void> {
    this.#etcd?.detach();
    await Promise.all(this.nodes.map((node) => node.detach()));
  }
}
