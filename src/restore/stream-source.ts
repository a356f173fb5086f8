import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TargetSettings } from '../daemon/backup-config.ts';
import { poll } from '../engine/poll.ts';
import { isGone, type ProcessIdentity } from '../engine/process.ts';
import { HyperscaleError } from '../errors.ts';
import { heardError } from './lines.ts';
import { StreamFiles, type StreamRequest, type StreamState } from './stream-files.ts';
import type { StreamSource, StreamSources } from './stream-parts.ts';

const program = fileURLToPath(new URL('stream-main.ts', import.meta.url));
const openTimeoutMs = 120_000;

type Serving = NonNullable<StreamState['serves']>;

export type StreamPlace = {
  targets: Readonly<Record<string, TargetSettings>>;
  /** Of the files of `StreamFiles`. */
  directory: string;
  logDirectory: string;
  address: string;
  ports: readonly [number, number];
};

/** The programs of this node that serve backups. */
export async function openStreamSources(place: StreamPlace): Promise<StreamSources> {
  const { targets, directory, logDirectory, address, ports } = place;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    layers: () => {
      const all = readdirSync(directory).flatMap((name) => StreamFiles.layerOf(name) ?? []);
      const gone = all.filter((layer) => StreamProgram.isKilled(directory, layer));
      for (const layer of gone) spawnProgram(logDirectory, [directory, layer, 'clear']).unref();
      return all.filter((layer) => !gone.includes(layer));
    },
    running: (layer) => StreamProgram.running(directory, layer),
    async start(wanted, signal) {
      const { target } = wanted;
      const settings = Object.hasOwn(targets, target) ? targets[target] : undefined;
      if (settings === undefined) {
        throw new HyperscaleError(
          'unavailable',
          `this node has no backup target ${target} any more`,
        );
      }
      const request = { ...wanted, settings, address, ports };
      return await StreamProgram.start(directory, request, logDirectory, signal);
    },
  };
}

function spawnProgram(logDirectory: string, args: string[]): ChildProcess {
  const log = openSync(join(logDirectory, 'restore.log'), 'a', 0o640);
  const command = ['--disable-warning=ExperimentalWarning', program, ...args];
  const child = spawn(process.execPath, command, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  // That it did not start shows by its exit.
  child.on('error', () => undefined);
  return child;
}

/** The program on this node that serves a backup to heads, in place of a layer. */
class StreamProgram implements StreamSource {
  readonly serves: Serving;
  readonly #files: StreamFiles;
  readonly #process: ProcessIdentity;

  private constructor(files: StreamFiles, serves: Serving, process: ProcessIdentity) {
    this.#files = files;
    this.serves = serves;
    this.#process = process;
  }

  /** True when one served a layer and did not live to clear up after itself. */
  static isKilled(directory: string, layer: string): boolean {
    const state = new StreamFiles(directory, layer).read();
    return state !== null && isGone(state.process);
  }

  /** The one that runs for a layer, if any. */
  static running(directory: string, layer: string): StreamProgram | null {
    const files = new StreamFiles(directory, layer);
    const state = files.read();
    if (state === null || state.serves === null || isGone(state.process)) return null;
    return new StreamProgram(files, state.serves, state.process);
  }

  /**
   * Starts one. It lives on when this daemon ends.
   * @throws what opening the backup throws, `timeout`, `cancelled`
   */
  static async start(
    directory: string,
    request: Omit<StreamRequest, 'stale'>,
    logDirectory: string,
    signal: AbortSignal,
  ): Promise<StreamProgram> {
    const files = new StreamFiles(directory, request.layer);
    const stale = files.stale();
    files.remove();
    files.writeRequest({ ...request, stale });
    const child = spawnProgram(logDirectory, [directory, request.layer]);
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
        return new StreamProgram(files, state.serves, state.process);
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

  get problem(): HyperscaleError | null {
    const problem = this.#files.read()?.problem ?? null;
    return problem === null ? null : heardError(problem);
  }

  retire(): void {
    this.#signal('SIGUSR2');
  }

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
