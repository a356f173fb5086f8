import type { HeadFault, HeadHandle, HeadState } from '../../src/engine/engine.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Limits } from '../../src/volume/types.ts';
import type { DaemonProcess } from './engine-daemon.ts';
import type { HeadProcess } from './head.ts';

const commandTimeoutMs = 5_000;
const killMs = [1, 30] as const;

/** A head, as one life of the daemon knows it. */
export class SimHead implements HeadHandle {
  readonly #daemon: DaemonProcess;
  readonly #process: HeadProcess;
  readonly #sessions: Set<string>;
  readonly #faults: HeadFault[] = [];
  #listener: ((fault: HeadFault) => void) | undefined;
  #ending = false;

  constructor(daemon: DaemonProcess, process: HeadProcess) {
    this.#daemon = daemon;
    this.#process = process;
    this.#sessions = new Set(process.sessions);
    for (const fault of process.faults) this.#fault(fault);
    process.onMemberError = (fault) => daemon.whenRunning(() => this.#fault(fault));
    process.onGone(() => {
      daemon.whenRunning(() => {
        if (!this.#ending) this.#fault({ kind: 'died' });
      });
    });
  }

  get state(): HeadState {
    const { volume, open, sealed } = this.#process.spec;
    return {
      volume,
      layer: open.layer.layer,
      epoch: open.layer.epoch,
      sizeBytes: this.#process.spec.sizeBytes,
      pid: this.#process.pid,
      sessions: [...this.#sessions],
      sealed: sealed.map(({ layer, peers, fromBackup }) => ({
        layer: layer.layer,
        from: peers[0]?.node ?? null,
        fromBoot: peers[0]?.boot ?? null,
        ...(fromBackup === true && peers[0] !== undefined ? { backupPort: peers[0].port } : {}),
      })),
      peers: open.peers.map((peer) => peer.node),
      limits: this.#process.limits,
    };
  }

  connections(): number {
    return this.#process.alive ? this.#process.connections() : 0;
  }

  onFault(listener: (fault: HeadFault) => void): void {
    this.#listener = listener;
    for (const fault of this.#faults.splice(0)) listener(fault);
  }

  async addSession(session: string): Promise<void> {
    if (this.#sessions.has(session)) return;
    await this.#command(commandTimeoutMs, (done) => {
      this.#process.addSession(session);
      done();
    });
    this.#sessions.add(session);
  }

  async removeSession(session: string, timeoutMs: number): Promise<void> {
    if (!this.#sessions.has(session)) return;
    await this.#command(timeoutMs, (done) => this.#process.removeSession(session, done));
    this.#sessions.delete(session);
  }

  async setLimits(limits: Limits): Promise<void> {
    await this.#command(commandTimeoutMs, (done) => {
      this.#process.limits = limits;
      done();
    });
  }

  async stop(timeoutMs: number): Promise<boolean> {
    const { scheduler } = this.#daemon.core;
    const deadline = scheduler.now() + timeoutMs;
    const left = () => Math.max(1, deadline - scheduler.now());
    this.#ending = true;
    try {
      await Promise.all([...this.#sessions].map((s) => this.removeSession(s, left())));
    } catch {
      this.#ending = false;
      return false;
    }
    try {
      await this.#command(left(), (done) => this.#process.drain(done));
    } catch {
      // One that died now had nothing under way any more; the real engine takes what was answered
      // for stable then. On the lazy disks here it is not.
      if (this.#process.alive) this.#ending = false;
      return false;
    }
    this.#process.kill();
    await this.#daemon.wait(1);
    return this.#process.faults.length === 0;
  }

  async kill(): Promise<void> {
    this.#ending = true;
    const { random } = this.#daemon.core;
    await this.#daemon.wait(random.int(...killMs) / 10);
    this.#process.kill();
    await this.#daemon.wait(random.int(...killMs));
  }

  /** A command over its monitor. @throws `timeout` */
  async #command(timeoutMs: number, run: (done: () => void) => void): Promise<void> {
    await this.#daemon.ask<void>((resolve, reject) => {
      const failed = (text: string) => reject(new HyperscaleError('timeout', text));
      const off = this.#process.onGone(() => failed('the monitor was closed'));
      const cancel = this.#daemon.after(timeoutMs, () => failed('QEMU did not answer in time'));
      if (!this.#process.alive) failed('the monitor was closed');
      this.#process.after(0.5, () =>
        run(() => {
          off();
          cancel();
          resolve();
        }),
      );
    });
  }

  #fault(fault: HeadFault): void {
    if (this.#listener === undefined) this.#faults.push(fault);
    else this.#listener(fault);
  }
}
