/**
 * The one fixture of the end-to-end tests: a real cluster in network namespaces, started once for
 * all tests of a file and destroyed after them, however they end.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type ClusterOptions, LabCluster } from '../../lab/cluster.ts';
import { Consumer } from '../../lab/consumer.ts';
import { type FioResult, type FioRun, startFio } from '../../lab/fio.ts';
import type { LabNode } from '../../lab/node.ts';
import type { NodeEvent } from '../../src/api/service.ts';
import { QemuIo } from './fixture-io.ts';
import { type Endpoint, TestVolume } from './fixture-volume.ts';

export const mib = 1 << 20;

/** The size of test volumes: small enough that comparing all copies takes no time. */
const volumeBytes = 64 * mib;
/** What fio writes; twice, so that the second pass overwrites. */
const fioBytes = 3 * mib;
/** How long fio writes before a fault strikes. */
const beforeFaultMs = 1_000;

// Most of a daemon's start is the compilation of its modules; a test starts dozens of daemons.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(
  new URL('../../node_modules/.cache/hyperscale-compile', import.meta.url),
);

export class TestCluster {
  readonly #options: ClusterOptions;
  readonly #undo: (() => Promise<void> | void)[] = [];
  #lab: LabCluster | undefined;
  #volumes = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  get lab(): LabCluster {
    if (this.#lab === undefined) throw new Error('the cluster is there only within tests');
    return this.#lab;
  }

  node(name: string): LabNode {
    return this.lab.node(name);
  }

  async start(): Promise<void> {
    this.#lab = await LabCluster.create(this.#options);
  }

  /** Undone, last first, when the tests of the file are over. */
  atEnd(undo: () => Promise<void> | void): void {
    this.#undo.push(undo);
  }

  async destroy(): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo();
    await this.#lab?.destroy();
  }

  /** A volume under a new name, unless one is given. */
  async createVolume(
    policy: 'Gold' | 'Silver' | 'Bronze',
    options: { name?: string; sizeBytes?: number; via?: string } = {},
  ): Promise<TestVolume> {
    this.#volumes += 1;
    const { name = `v${this.#volumes}`, sizeBytes = volumeBytes } = options;
    const node = options.via === undefined ? this.lab.nodes[0] : this.node(options.via);
    const body = { name, sizeBytes, policy };
    const made = await node?.api.call<{ id: string }>('POST', '/v1/volumes', body);
    return new TestVolume(this.lab, name, made?.id ?? '');
  }

  /** What a guest is to an attachment: reconnects and replays. */
  async consumer(endpoint: Endpoint, host?: string): Promise<Consumer> {
    const { socket, session } = endpoint;
    const directory = join(this.lab.directory, `c-${randomBytes(3).toString('hex')}`);
    const placed = host === undefined ? {} : { host: this.node(host) };
    const consumer = await Consumer.start({ socket, export: session, directory, ...placed });
    this.atEnd(() => consumer.kill());
    return consumer;
  }

  /** A consumer that does what it is told, one command after the other, and flushes nothing. */
  qemuIo(endpoint: Endpoint): QemuIo {
    const io = new QemuIo(endpoint);
    this.atEnd(() => io.kill());
    return io;
  }

  /** fio that writes blocks twice and reads every one back after each time. */
  startFio(consumer: Consumer, runtimeSeconds = 4): FioRun {
    const { uri } = consumer;
    const load = { rw: 'randwrite', bs: 4096, iodepth: 4, verify: true, passes: 2 } as const;
    const directory = join(this.lab.directory, 'fio');
    return startFio({ uri, directory, sizeBytes: fioBytes, runtimeSeconds, ...load });
  }

  /** Lets `fault` strike while fio writes; rejects at an I/O error or a block that is not right. */
  async underFio(consumer: Consumer, fault: () => unknown): Promise<FioResult> {
    const fio = this.startFio(consumer);
    await sleep(beforeFaultMs);
    if (fio.over) await fio.wait();
    await fault();
    return fio.wait();
  }

  /** The events that a node's daemon has seen of a volume since it started, oldest first. */
  async events(node: string, volume: TestVolume): Promise<NodeEvent[]> {
    const path = `/v1/events?follow=false&volume=${volume.name}`;
    return (await this.node(node).api.call<{ events: NodeEvent[] }>('GET', path)).events;
  }

  /** The last lines of all logs, for a test that failed. */
  logs(lines = 40): string {
    const of = (node: LabNode): string =>
      node
        .logTail(2_000)
        .split('\n')
        .filter((line) => !line.includes('"msg":"request"'))
        .slice(-lines)
        .map((line) => line.slice(0, 600))
        .join('\n');
    return this.lab.nodes.map((node) => `--- ${node.name}\n${of(node)}`).join('\n');
  }
}

/** Registers a cluster for all tests of the file that calls this. */
export function sharedCluster(options: ClusterOptions): TestCluster {
  const cluster = new TestCluster(options);
  beforeAll(() => cluster.start());
  beforeEach(({ onTestFailed }) => onTestFailed(() => console.error(cluster.logs())));
  afterAll(() => cluster.destroy());
  return cluster;
}
