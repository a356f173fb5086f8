import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { type EngineEnvironment, logFile, runPart } from './environment.ts';
import { HeldProcess, type HeldSocket, heldDescriptors } from './held-process.ts';
import type { RunFiles } from './run-files.ts';
import { StorageDaemon } from './storage-daemon.ts';

const startTimeoutMs = 15_000;

/** A process that listens and will forward when it is told where to; it ends with the daemon. */
export class HeldRelay {
  readonly #process: HeldProcess;
  readonly #qmp: string;

  private constructor(process: HeldProcess, qmp: string) {
    this.#process = process;
    this.#qmp = qmp;
  }

  /** @param listen where it listens, beside its monitor. @throws `engine` */
  static async start(
    environment: EngineEnvironment,
    part: 'proxies' | 'gateways' | 'devices',
    volume: string,
    listen: HeldSocket[] = [],
  ): Promise<HeldRelay> {
    const token = randomBytes(4).toString('hex');
    const qmp = join(runPart(environment, part), `${volume}.${token}.qmp`);
    const sockets = [...listen, { fd: heldDescriptors.qmp, path: qmp }];
    // To start a process keeps this thread for some milliseconds: requests to others leave before.
    await immediate();
    return new HeldRelay(await HeldProcess.start(sockets, logFile(environment, volume)), qmp);
  }

  /** Waits for what must be known before it can go on; without it, it is ended. */
  async until<T>(known: Promise<T>): Promise<T> {
    try {
      return await known;
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  /**
   * Becomes the program; `spec` is kept in the run files.
   * @param signal ends it while it is not ready.
   * @throws `engine`, or why it was aborted; it is gone then
   */
  async become(
    files: RunFiles,
    spec: object,
    argv: string[],
    signal?: AbortSignal,
  ): Promise<StorageDaemon> {
    const options = { files, spec, argv, timeoutMs: startTimeoutMs };
    const kill = () => {
      this.#process.kill().catch(() => undefined); // seen by who waits for it
    };
    signal?.addEventListener('abort', kill, { once: true });
    try {
      signal?.throwIfAborted();
      const daemon = await StorageDaemon.start(this.#process, this.#qmp, options);
      if (signal?.aborted) await daemon.kill();
      signal?.throwIfAborted();
      return daemon;
    } catch (error) {
      await this.abandon();
      // Killed for it, it can only say that it was.
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', kill);
    }
  }

  async abandon(): Promise<void> {
    await this.#process.kill();
    rmSync(this.#qmp, { force: true });
  }
}
