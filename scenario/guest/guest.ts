import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { Readable } from 'node:stream';
import { HyperscaleError } from '../../src/errors.ts';
import { onLines } from './lines.ts';
import { Listener, Monitor } from './monitor.ts';
import { type GuestOptions, qemuCommand } from './qemu-command.ts';
import {
  type GuestRecord,
  longestGap,
  parseRecord,
  parseVerification,
  type Verification,
} from './record-log.ts';

export type { GuestOptions } from './qemu-command.ts';
export { type GuestRecord, lostRecords, type Verification } from './record-log.ts';

const kernelTrouble =
  /I\/O error|EXT4-fs error|[Aa]borting journal|Remounting filesystem read-only/;

type Process = ChildProcessByStdio<null, Readable, Readable>;

type GuestEvents = {
  record: [GuestRecord];
  /** A line of the guest's programs, or of its kernel. */
  line: [string];
  ioError: [string];
  exit: [];
};

/**
 * A real virtual machine (QEMU, TCG) with one virtio disk, that writes records to the disk or
 * verifies them. Its process dies with `kill`, with the `signal` of the options, when the guest
 * powers off, and with the process that started it, however that ends.
 *
 * ```ts
 * const image = await buildGuestImage('/var/cache/hyperscale-demo');
 * const guest = await Guest.start({ image, uri, mode: 'record', serial: volumeId, directory });
 * await guest.waitForRecord(20, 60_000);
 * await guest.kill();
 * ```
 */
export class Guest {
  readonly events = new EventEmitter<GuestEvents>();
  /** Resolves when the process is gone and all that it wrote has been read. */
  readonly exited: Promise<void>;
  readonly pid: number;
  readonly #process: Process;
  readonly #records: GuestRecord[] = [];
  readonly #lines: string[] = [];
  readonly #kernelLines: string[] = [];
  readonly #ioErrors: string[] = [];
  readonly #stopTimesMs: number[] = [];
  #errorOutput = '';
  #running = true;
  #monitor: Monitor | undefined;

  private constructor(child: Process, pid: number) {
    this.#process = child;
    this.pid = pid;
    // A waiter each is normal here, more than Node's limit for suspecting a leak.
    this.events.setMaxListeners(0);
    onLines(child.stdout, (line) => this.#takeLine(line));
    child.stderr.on('data', (chunk: Buffer) => {
      this.#errorOutput += chunk.toString();
    });
    this.exited = new Promise((resolve) => {
      child.once('close', () => {
        this.#running = false;
        this.events.emit('exit');
        resolve();
      });
    });
  }

  /**
   * Starts QEMU; resolves when it has opened the disk and runs. Fails with what QEMU said, as
   * `engine`; a server that accepts and never answers holds it up until `signal` is aborted.
   */
  static async start(options: GuestOptions): Promise<Guest> {
    options.signal?.throwIfAborted();
    const { command, monitorSocket, kernelSocket } = qemuCommand(options);
    const [program = '', ...programArguments] = command;
    const listeners = [await Listener.open(monitorSocket), await Listener.open(kernelSocket)];
    const close = () => Promise.all(listeners.map((listener) => listener.close()));
    // Its own session: Ctrl-C in a terminal reaches the one who started it, who then decides.
    const child = spawn(program, programArguments, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const spawned = await new Promise<Error | undefined>((resolve) => {
      child.once('spawn', () => resolve(undefined));
      child.once('error', resolve);
    });
    if (spawned !== undefined || child.pid === undefined) {
      await close();
      throw new HyperscaleError('engine', `cannot start ${program}`, { cause: spawned });
    }
    const guest = new Guest(child, child.pid);
    const kill = () => void child.kill('SIGKILL');
    options.signal?.addEventListener('abort', kill, { once: true });
    guest.exited
      .then(() => {
        options.signal?.removeEventListener('abort', kill);
        return close();
      })
      // Logs of a guest that is gone; whoever reads them sees what is missing.
      .catch(() => undefined);
    await guest.#attach(listeners);
    return guest;
  }

  async #attach([monitor, kernel]: Listener[]): Promise<void> {
    if (monitor === undefined || kernel === undefined) return;
    const connect = async () => {
      onLines(await kernel.connected, (line) => this.#takeKernelLine(line));
      this.#monitor = new Monitor(await monitor.connected, (name, message) =>
        this.#takeEvent(name, message),
      );
      await this.#monitor.negotiate();
    };
    const ended = this.exited.then(() => {
      throw this.#failure('its QEMU ended at the start');
    });
    await Promise.race([connect(), ended]);
  }

  /** All records reported so far, in order. */
  get records(): readonly GuestRecord[] {
    return this.#records;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  get kernelLines(): readonly string[] {
    return this.#kernelLines;
  }

  /** I/O errors that the guest's programs, its kernel or its QEMU (BLOCK_IO_ERROR) reported. */
  get ioErrors(): readonly string[] {
    return this.#ioErrors;
  }

  /** When QEMU stopped the guest, as it does at an I/O error; `performance.now()` times. */
  get stopTimesMs(): readonly number[] {
    return this.#stopTimesMs;
  }

  get running(): boolean {
    return this.#running;
  }

  /** See `longestGap` in `record-log.ts`; seconds. */
  longestGap(sinceMs: number, untilMs: number = performance.now()): number {
    return longestGap(this.#records, sinceMs, untilMs);
  }

  /** Waits until record number `n` was reported. */
  waitForRecord(n: number, timeoutMs: number): Promise<GuestRecord> {
    return this.#until(timeoutMs, `record ${n}`, () => {
      const last = this.#records.at(-1);
      return last !== undefined && last.n >= n
        ? this.#records.find((record) => record.n >= n)
        : undefined;
    });
  }

  /** Waits until `count` more records than now were reported. */
  waitForNewRecords(count: number, timeoutMs: number): Promise<GuestRecord> {
    const index = this.#records.length + count - 1;
    return this.#until(timeoutMs, `${count} more records`, () => this.#records[index]);
  }

  /** Waits for a line of the guest's programs, also one that it has already written. */
  waitFor(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    let seen = 0;
    return this.#until(timeoutMs, `a line like ${pattern}`, () => {
      for (; seen < this.#lines.length; seen += 1) {
        const match = pattern.exec(this.#lines[seen] ?? '');
        if (match !== null) return match;
      }
      return undefined;
    });
  }

  /** The verdict of a guest in `verify` mode, after it has powered off. */
  async verification(timeoutMs: number): Promise<Verification> {
    await this.waitFor(/^HS-(DONE|CORRUPT)/, timeoutMs);
    const verdict = parseVerification(this.#lines);
    if (verdict === undefined) throw this.#failure('it gave no verdict');
    await this.exited;
    return verdict;
  }

  /** Lets a guest go on that QEMU stopped at an I/O error; it repeats the request. */
  async resume(): Promise<void> {
    await this.#monitor?.execute('cont');
  }

  /** Cuts the power: SIGKILL, and waits until the process is gone. */
  async kill(): Promise<void> {
    if (this.#running) this.#process.kill('SIGKILL');
    await this.exited;
  }

  #takeLine(line: string): void {
    this.#lines.push(line);
    const record = parseRecord(line, performance.now());
    if (record !== undefined) {
      this.#records.push(record);
      this.events.emit('record', record);
    }
    if (/^HS-(IOERROR|FATAL)/.test(line)) this.#takeError(line);
    this.events.emit('line', line);
  }

  #takeKernelLine(line: string): void {
    this.#kernelLines.push(line);
    if (kernelTrouble.test(line)) this.#takeError(line);
    this.events.emit('line', line);
  }

  #takeEvent(name: string, message: string): void {
    if (name === 'STOP') this.#stopTimesMs.push(performance.now());
    if (name === 'BLOCK_IO_ERROR') this.#takeError(message);
  }

  #takeError(text: string): void {
    this.#ioErrors.push(text);
    this.events.emit('ioError', text);
  }

  #failure(what: string): HyperscaleError {
    const lines = [...this.#lines.slice(-3), ...this.#kernelLines.slice(-3)];
    const said = [...lines, this.#errorOutput.trim()].filter((text) => text !== '').join(' | ');
    return new HyperscaleError('engine', `guest ${this.pid}: ${what}; it said: ${said}`, {
      values: { ioErrors: this.#ioErrors, records: this.#records.length },
    });
  }

  /** Tries `probe` now and after every line until it finds something. */
  #until<T>(timeoutMs: number, what: string, probe: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const found = probe();
      if (found !== undefined) return resolve(found);
      if (!this.#running) return reject(this.#failure(`it ended before ${what}`));
      const settle = () => {
        clearTimeout(timer);
        this.events.off('line', look).off('exit', ended);
      };
      const look = () => {
        const value = probe();
        if (value === undefined) return;
        settle();
        resolve(value);
      };
      const ended = () => {
        settle();
        reject(this.#failure(`it ended before ${what}`));
      };
      const timer = setTimeout(() => {
        settle();
        reject(this.#failure(`no ${what} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.events.on('line', look).on('exit', ended);
    });
  }
}
