/**
 * A consumer of an attached volume that survives what a guest survives: an NBD client that
 * reconnects and replays, exactly what a guest's QEMU does, re-exported on a private socket for
 * programs that cannot reconnect themselves (fio, nbdcopy).
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ended, inNamespace, spawnLogged, untilAnswering } from './child.ts';
import { listensOn } from './listens.ts';
import type { LabNode } from './node.ts';
import { onProcessEnd } from './process-end.ts';
import { signal } from './processes.ts';

/** How long the consumer's requests wait for the attachment to come back, in seconds. */
const reconnectSeconds = 86_400;

export type ConsumerOptions = {
  /** The attachment's Unix socket. */
  socket: string;
  /** The export of the attachment session. */
  export: string;
  /** Where the private socket and the log go; short, and below the lab's directory if any. */
  directory: string;
  /** The host that the consumer runs on: it dies in this host's power cut. */
  host?: LabNode;
};

export class Consumer {
  /** What a program connects to instead of the attachment. */
  readonly uri: string;
  readonly logFile: string;
  readonly #socketPath: string;
  readonly #child: ChildProcess;
  readonly #forget: () => void;

  private constructor(options: ConsumerOptions) {
    mkdirSync(options.directory, { recursive: true });
    const name = `consumer-${randomBytes(3).toString('hex')}`;
    this.#socketPath = join(options.directory, `${name}.sock`);
    this.logFile = join(options.directory, `${name}.log`);
    this.uri = `nbd+unix:///disk?socket=${this.#socketPath}`;
    const client = {
      driver: 'nbd',
      'node-name': 'attachment',
      server: { type: 'unix', path: options.socket },
      export: options.export,
      'reconnect-delay': reconnectSeconds,
    };
    const server = `addr.type=unix,addr.path=${this.#socketPath},max-connections=0`;
    const command = ['qemu-storage-daemon', '--blockdev', JSON.stringify(client)];
    command.push('--nbd-server', server, '--export');
    command.push('type=nbd,id=disk,node-name=attachment,name=disk,writable=on');
    const { host } = options;
    const placed = host === undefined ? command : inNamespace(host.namespace, command);
    this.#child = spawnLogged(placed, this.logFile);
    this.#forget = onProcessEnd(() => this.#signal());
  }

  /** Starts a consumer; resolves once it is connected and serves. */
  static async start(options: ConsumerOptions): Promise<Consumer> {
    const consumer = new Consumer(options);
    const serves = () => listensOn(consumer.#socketPath);
    try {
      await untilAnswering('consumer', consumer.#child, consumer.logFile, serves, 30_000);
      return consumer;
    } catch (error) {
      await consumer.kill();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The private socket that `uri` names; its export is `disk`. */
  get socket(): string {
    return this.#socketPath;
  }

  /** Resolves with how the consumer ended: by `kill`, or with its host. */
  async ended(): Promise<string> {
    return ended(this.#child);
  }

  #signal(): void {
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      signal(this.#child.pid, 'SIGKILL');
    }
  }

  /** SIGKILLs the consumer, waits for its end and removes its socket. Idempotent. */
  async kill(): Promise<void> {
    this.#forget();
    this.#signal();
    if (this.#child.pid !== undefined) {
      await ended(this.#child);
    }
    rmSync(this.#socketPath, { force: true });
  }
}
