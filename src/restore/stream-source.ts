import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { poll } from '../engine/poll.ts';
import { isGone, type ProcessIdentity } from '../engine/process.ts';
import { HyperscaleError } from '../errors.ts';
import { heardError } from './lines.ts';
import { StreamFiles, type StreamRequest, type StreamState } from './stream-files.ts';

const program = fileURLToPath(new URL('stream-main.ts', import.meta.url));
const openTimeoutMs = 120_000;

export type Serving = NonNullable<StreamState['serves']>;

/** The program on this node that serves a backup to heads, in place of a layer. */
export class StreamSource {
  readonly serves: Serving;
  readonly #files: StreamFiles;
  readonly #process: ProcessIdentity;

  private constructor(files: StreamFiles, serves: Serving, process: ProcessIdentity) {
    this.#files = files;
    this.serves = serves;
    this.#process = process;
  }

  /** The one that runs for a layer, if any. */
  static running(directory: string, layer: string): StreamSource | null {
    const files = new StreamFiles(directory, layer);
    const state = files.read();
    if (state === null || state.serves === null || isGone(state.process)) return null;
    return new StreamSource(files, state.serves, state.process);
  }

  /** Layers that programs serve, or served, on this node. */
  static layers(directory: string): string[] {
    return readdirSync(directory).flatMap((name) => StreamFiles.layerOf(name) ?? []);
  }

  /**
   * Starts one. It lives on when this daemon ends.
   * @throws what opening the backup throws, `timeout`, `cancelled`
   */
  static async start(
    directory: string,
    request: StreamRequest,
    logDirectory: string,
    signal: AbortSignal,
  ): Promise<StreamSource> {
    const files = new StreamFiles(directory, request.layer);
    files.remove();
    files.writeRequest(request);
    const log = openSync(join(logDirectory, 'restore.log'), 'a', 0o640);
    const args = ['--disable-warning=ExperimentalWarning', program, directory, request.layer];
    const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    let over = false;
    child.once('error', () => {
      over = true;
    });
    child.once('exit', () => {
      over = true;
    });
    child.unref();
    const told = () => files.read()?.serves != null;
    try {
      const met = await poll(() => told() || over || signal.aborted, openTimeoutMs);
      if (signal.aborted) throw new HyperscaleError('cancelled', 'the restore was cancelled');
      const state = files.read();
      if (state !== null && state.serves !== null && !over) {
        return new StreamSource(files, state.serves, state.process);
      }
      if (state !== null && state.problem !== null) throw heardError(state.problem);
      throw new HyperscaleError(
        met ? 'unavailable' : 'timeout',
        met
          ? 'the program that reads backups ended'
          : `target ${request.target} did not answer in ${openTimeoutMs / 1_000} s`,
        { hint: 'The log directory has restore.log.' },
      );
    } catch (error) {
      child.kill('SIGKILL');
      files.remove();
      throw error;
    }
  }

  get socket(): string {
    return this.#files.socket;
  }

  get isGone(): boolean {
    return isGone(this.#process);
  }

  /** Why it waits for its target, or what of the backup is lost; null while all is well. */
  get problem(): HyperscaleError | null {
    const problem = this.#files.read()?.problem ?? null;
    return problem === null ? null : heardError(problem);
  }

  /** Nobody is to connect to it any more; it ends when those who are have left. */
  retire(): void {
    this.#signal('SIGUSR2');
  }

  /** Ends it, whoever reads through it. */
  end(): void {
    this.#signal('SIGTERM');
  }

  #signal(signal: 'SIGUSR2' | 'SIGTERM'): void {
    if (isGone(this.#process)) return;
    try {
      process.kill(this.#process.pid, signal);
    } catch {
      // It ended just now.
    }
  }
}
