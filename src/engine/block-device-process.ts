import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { HyperscaleError } from '../errors.ts';
import type { DeviceProcess } from './block-device.ts';
import { isGone, kill, type ProcessIdentity, waitGone } from './process.ts';
import { QmpClient } from './qmp.ts';
import type { RunFiles } from './run-files.ts';

/** Longer than anybody waits. */
const longMs = 86_400_000;

/**
 * The process of a block device that an earlier daemon started. It is not asked anything in order to
 * be adopted: while it waits for a head it does not answer its monitor, and that is no reason to kill
 * it. That its end of the monitor's socket closes tells that it ended.
 */
export class AdoptedDeviceProcess implements DeviceProcess {
  readonly ended: Promise<void>;
  readonly #identity: ProcessIdentity;
  readonly #socket: Socket;
  readonly #input = new PassThrough();
  #qmp: Promise<QmpClient> | undefined;

  private constructor(identity: ProcessIdentity, files: RunFiles) {
    this.#identity = identity;
    this.#socket = connect({ path: files.qmp });
    this.#socket.on('error', () => undefined);
    this.#socket.pipe(this.#input);
    this.ended = new Promise((resolve, reject) => {
      this.#socket.once('close', () => {
        // Whatever closed it: a process that cannot be watched is not left running.
        waitGone(identity, 1_000)
          .catch(() => kill(identity))
          .then(() => files.remove())
          .then(resolve, reject);
      });
    });
    this.ended.catch(() => undefined);
  }

  /** @returns undefined when the process is gone */
  static adopt(identity: ProcessIdentity, files: RunFiles): AdoptedDeviceProcess | undefined {
    return isGone(identity) ? undefined : new AdoptedDeviceProcess(identity, files);
  }

  /** For the one thing that it has to be asked. @throws `timeout`, when it waits for a head */
  async execute(
    command: string,
    args: Record<string, unknown>,
    options: { timeoutMs: number },
  ): Promise<unknown> {
    // It greets once, and answers when it can.
    const greeted = { timeoutMs: longMs };
    this.#qmp ??= QmpClient.over(this.#input, this.#socket, () => undefined, greeted);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new HyperscaleError('timeout', `it does not answer in ${options.timeoutMs} ms`));
    }, options.timeoutMs);
    try {
      const qmp = await Promise.race([this.#qmp, late.promise]);
      return await qmp.execute(command, args, options);
    } finally {
      clearTimeout(timer);
    }
  }

  async kill(): Promise<void> {
    await kill(this.#identity);
    this.#socket.destroy();
    await this.ended;
  }
}
