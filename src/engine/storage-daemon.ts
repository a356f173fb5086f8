import { renameSync } from 'node:fs';
import { errorText, HyperscaleError } from '../errors.ts';
import { waitUnwritten } from './file-locks.ts';
import type { HeldProcess } from './held-process.ts';
import { identify, isGone, kill, type ProcessIdentity, waitGone } from './process.ts';
import { QmpClient, type QmpEvent, type QmpOptions } from './qmp.ts';
import type { RunFiles, RunRecord } from './run-files.ts';

export type LaunchOptions = {
  files: RunFiles;
  /** Kept in the run files for `adopt`. */
  spec: object;
  argv: string[];
  /** It stops half-way (`monitorArguments`); its time comes with `connect`. */
  waits?: boolean;
};

const killTimeoutMs = 30_000;
const settleTimeoutMs = 10_000;

/**
 * A running `qemu-storage-daemon`: its process and its monitor. Whatever ends one ends the other: a
 * process whose monitor is gone cannot be controlled and is killed.
 */
export class StorageDaemon {
  readonly identity: ProcessIdentity;
  /**
   * Files that it may write to. It counts as ended only when requests that it left in the kernel
   * are finished as well: a late write must not land in a file that is then compared or mended.
   */
  readonly writes = new Set<string>();
  readonly #qmp: QmpClient;
  readonly #files: RunFiles;
  /** Its exit status, where this daemon started it. */
  readonly #status: Promise<number | null> | undefined;
  readonly #ended = Promise.withResolvers<void>();
  #events: string | undefined;

  private constructor(
    identity: ProcessIdentity,
    qmp: QmpClient,
    files: RunFiles,
    status?: Promise<number | null>,
  ) {
    this.identity = identity;
    this.#qmp = qmp;
    this.#files = files;
    this.#status = status;
    this.#ended.promise.catch(() => undefined);
    qmp.onClose(() => {
      this.#finish().then(this.#ended.resolve, this.#ended.reject);
    });
  }

  /**
   * Lets `held` become the storage daemon.
   * @throws `engine` with what QEMU said when it does not come up in time; it is gone then.
   */
  static async start(
    held: HeldProcess,
    heldQmp: string,
    options: LaunchOptions & { timeoutMs: number },
  ): Promise<StorageDaemon> {
    try {
      StorageDaemon.launch(held, heldQmp, options);
    } catch (error) {
      await held.kill();
      options.files.remove();
      throw error;
    }
    return await StorageDaemon.connect(held, options);
  }

  /** The first half of `start`. When it throws, `held` is left to the caller to end. */
  static launch(held: HeldProcess, heldQmp: string, options: LaunchOptions): void {
    const { files, spec, argv, waits } = options;
    renameSync(heldQmp, files.qmp);
    files.write(held.identity, spec, waits);
    held.become(argv);
  }

  /** The second half of `start`. @throws like `start` */
  static async connect(
    held: HeldProcess,
    options: LaunchOptions & { timeoutMs: number },
  ): Promise<StorageDaemon> {
    const { files, spec, waits, timeoutMs } = options;
    try {
      // The socket listens already; QEMU answers when the whole graph stands.
      const qmp = await QmpClient.connect(files.qmp, { timeoutMs });
      if (waits) files.write(held.identity, spec);
      return new StorageDaemon(held.identity, qmp, files, held.ended);
    } catch (error) {
      await held.kill();
      files.remove();
      const said = held.said();
      throw new HyperscaleError(
        'engine',
        `qemu-storage-daemon did not start: ${reasonIn(said) || errorText(error)}`,
        { values: { process: files.name, said }, cause: error },
      );
    }
  }

  /**
   * Takes over a process that an earlier daemon started.
   * @returns undefined when it is gone, or was killed: it does not answer within `timeoutMs`, or was
   *   never told that its time had come.
   */
  static async adopt(
    record: RunRecord<unknown>,
    timeoutMs: number,
  ): Promise<StorageDaemon | undefined> {
    const { identity, files, waits } = record;
    if (identify(identity.pid)?.startTime === identity.startTime && !isGone(identity)) {
      try {
        if (waits) throw new HyperscaleError('engine', 'it waits, and nobody knows for what');
        const qmp = await QmpClient.connect(files.qmp, { timeoutMs });
        return new StorageDaemon(identity, qmp, files);
      } catch {
        await kill(identity);
      }
    }
    files.remove();
    return undefined;
  }

  /** Resolves when the process and its requests are gone; rejects when they do not go. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Every event since the process started, also those that came while no daemon listened. */
  events(): QmpEvent[] {
    const text = this.#events ?? this.#files.readEvents();
    return text.split('\n').flatMap(parseEvent);
  }

  async execute(
    command: string,
    args: Record<string, unknown> = {},
    options: QmpOptions = {},
  ): Promise<unknown> {
    return await this.#qmp.execute(command, args, options);
  }

  onEvent(listener: (event: QmpEvent) => void): () => void {
    return this.#qmp.onEvent(listener);
  }

  /** Removes an export and waits until its requests are settled. @throws `timeout` */
  async removeExport(id: string, timeoutMs: number): Promise<void> {
    const deleted = this.#qmp.event(
      ({ event, data }) => event === 'BLOCK_EXPORT_DELETED' && data.id === id,
      { timeoutMs },
    );
    // The command may be what fails; then nobody waits for the event.
    deleted.catch(() => undefined);
    await this.execute('block-export-del', { id, mode: 'hard' }, { timeoutMs });
    await deleted;
  }

  /** Ids of the exports that stand now. */
  async exportIds(): Promise<string[]> {
    const exports = (await this.execute('query-block-exports')) as {
      id: string;
      'shutting-down': boolean;
    }[];
    return exports.filter((e) => !e['shutting-down']).map((e) => e.id);
  }

  /** Asks it to flush and end. @returns false when it did not in time; it may still run. */
  async quit(timeoutMs: number): Promise<boolean> {
    try {
      await this.execute('quit', {}, { timeoutMs });
      await waitGone(this.identity, timeoutMs);
    } catch {
      if (!isGone(this.identity)) return false;
    }
    await this.#ended.promise;
    return true;
  }

  /** SIGKILL, and waits until it and its requests are gone. @throws `timeout` */
  async kill(): Promise<void> {
    await kill(this.identity, killTimeoutMs);
    this.#qmp.close();
    await this.#ended.promise;
  }

  async #finish(): Promise<void> {
    // After `quit` the monitor closes a little before the process ends; it gets that time.
    await waitGone(this.identity, 1000).catch(() => kill(this.identity, killTimeoutMs));
    this.#events = this.#files.readEvents();
    this.#files.remove();
    // QEMU that ends by itself has settled all requests; of an adopted one nobody is told how it ended.
    if ((await this.#status) === 0) return;
    if (await waitUnwritten([...this.writes], settleTimeoutMs)) return;
    throw new HyperscaleError('timeout', `requests of process ${this.identity.pid} do not end`, {
      hint: 'The disk under the pool does not answer: look at the kernel log.',
      values: { pid: this.identity.pid, files: [...this.writes] },
    });
  }
}

/** What QEMU said without its own name and the option that it quotes, and that it waited. */
function reasonIn(said: string): string {
  const told = said.replaceAll(/^.* info: QEMU waiting for connection on: .*\n?/gm, '');
  return told.replaceAll(/^qemu-storage-daemon: (--[a-z-]+ \{.*\}: )?/gm, '');
}

function parseEvent(line: string): QmpEvent[] {
  try {
    const message = JSON.parse(line) as { event?: string; data?: Record<string, unknown> };
    return message.event === undefined ? [] : [{ event: message.event, data: message.data ?? {} }];
  } catch {
    return []; // an empty line, or one that was cut when the process was killed
  }
}
