import type { LayerKey, ReplicaServer } from '../../src/engine/engine.ts';
import { Serial } from '../../src/engine/serial.ts';
import { errorText, HyperscaleError } from '../../src/errors.ts';
import type { DaemonProcess } from './engine-daemon.ts';
import type { Host } from './engine-host.ts';
import { ReplicaProcess } from './replica.ts';

const launchMs = [20, 150] as const;
const commandTimeoutMs = 5_000;
const adoptTimeoutMs = 2_000;
const retryMs = 1_000;

type Exported = { key: LayerKey; writable: boolean };

/** What one life of the daemon does with the replica server of its machine. */
export class SimReplicaServer implements ReplicaServer {
  readonly #daemon: DaemonProcess;
  readonly #host: Host;
  readonly #serial = new Serial();
  readonly #exports = new Map<string, Exported>();
  #process: ReplicaProcess | null = null;
  #supervised = false;

  constructor(daemon: DaemonProcess, host: Host) {
    this.#daemon = daemon;
    this.#host = host;
  }

  async start(): Promise<void> {
    await this.#serial.run(async () => {
      if (this.#process !== null) return;
      this.#supervised = true;
      const running = this.#host.replica;
      if (running?.frozen === true) {
        await this.#daemon.wait(adoptTimeoutMs);
        running.kill();
      }
      if (running?.alive === true) {
        for (const exported of running.exports()) this.#exports.set(exported.key.layer, exported);
        this.#watch(running);
      } else {
        await this.#launch();
      }
    });
  }

  async export(key: LayerKey, writable: boolean): Promise<void> {
    await this.#serial.run(async () => {
      const present = this.#exports.get(key.layer);
      if (present?.writable === writable) return;
      if (present !== undefined) await this.#drop(key.layer, commandTimeoutMs);
      await this.#command((server) => server.add(key, writable));
      this.#exports.set(key.layer, { key, writable });
    });
  }

  async unexport(layer: string, timeoutMs: number): Promise<void> {
    await this.#serial.run(() => this.#drop(layer, timeoutMs));
  }

  exports(): Exported[] {
    return [...this.#exports.values()];
  }

  async kill(): Promise<void> {
    this.#supervised = false;
    await this.#serial.run(async () => {
      this.#end();
      await this.#daemon.wait(1);
      this.#exports.clear();
    });
  }

  /** A command over the server's monitor. */
  async #command(run: (server: ReplicaProcess) => void): Promise<void> {
    const server = this.#process;
    if (server === null) {
      throw new HyperscaleError('unavailable', 'the replica server of this node does not run');
    }
    await this.#daemon.ask<void>((resolve, reject) => {
      const failed = (text: string) => reject(new HyperscaleError('engine', text));
      server.onGone(() => failed('the monitor was closed'));
      this.#daemon.after(commandTimeoutMs, () => failed('QEMU did not answer in time'));
      server.after(1, () => {
        try {
          run(server);
          resolve();
        } catch (error) {
          failed(errorText(error));
        }
      });
    });
  }

  async #drop(layer: string, timeoutMs: number): Promise<void> {
    if (!this.#exports.delete(layer)) return;
    const server = this.#process;
    if (server === null) return;
    const settled = await this.#daemon.ask<boolean>((resolve) => {
      server.onGone(() => resolve(false));
      this.#daemon.after(timeoutMs, () => resolve(false));
      server.after(0.5, () => server.remove(layer, () => resolve(true)));
    });
    if (settled) return;
    this.#daemon.note('an export did not end in time: the replica server is killed');
    this.#end();
    await this.#daemon.wait(2);
    if (this.#supervised) await this.#launch();
  }

  #end(): void {
    const server = this.#process;
    this.#process = null;
    server?.kill();
  }

  async #launch(): Promise<void> {
    const { random } = this.#daemon.core;
    await this.#daemon.wait(random.int(...launchMs));
    if (random.chance(this.#host.spawnFailures)) {
      throw new HyperscaleError('engine', 'qemu-storage-daemon did not start');
    }
    const { core, machine } = this.#daemon;
    const server = new ReplicaProcess(core, machine, this.#host.disk);
    this.#host.replica = server;
    for (const { key, writable } of this.#exports.values()) {
      try {
        server.add(key, writable);
      } catch {
        this.#exports.delete(key.layer);
      }
    }
    this.#watch(server);
  }

  #watch(server: ReplicaProcess): void {
    this.#process = server;
    server.onGone(() => {
      this.#daemon.whenRunning(() => {
        if (this.#process !== server || !this.#supervised) return;
        this.#process = null;
        this.#restart().catch(() => undefined);
      });
    });
  }

  async #restart(): Promise<void> {
    for (let done = false; !done; ) {
      done = await this.#serial.run(async () => {
        if (!this.#supervised || this.#process !== null) return true;
        try {
          await this.#launch();
          return true;
        } catch {
          return false;
        }
      });
      if (!done) await this.#daemon.wait(retryMs);
    }
  }
}
