import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { HyperscaleError } from '../errors.ts';
import { identify, kill, type ProcessIdentity } from './process.ts';

/** Numbers under which a held process finds what `libexec/hold-listener` opened for it. */
export const heldDescriptors = { attach: 10, qmp: 11, capabilities: 12 } as const;

export type HeldSocket = {
  fd: number;
  path: string;
  mode?: 'keep' | 'reuse' | undefined;
  /** Members of this group may connect; root alone when absent. */
  group?: number | undefined;
};

const program = fileURLToPath(new URL('../../libexec/hold-listener', import.meta.url));
const readyTimeoutMs = 10_000;

/**
 * A process that listens already and becomes a program later (`libexec/hold-listener`); its id
 * stays the same. It is detached: it lives on when the daemon ends, once the program was started.
 */
export class HeldProcess {
  readonly identity: ProcessIdentity;
  /** Resolves when it has ended: with its exit status, null when a signal ended it. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #input: Writable;
  readonly #log: { path: string; start: number };

  private constructor(
    child: ChildProcess,
    input: Writable,
    identity: ProcessIdentity,
    log: { path: string; start: number },
  ) {
    this.#child = child;
    this.#input = input;
    this.identity = identity;
    this.#log = log;
    this.ended = new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
      else child.once('exit', (code) => resolve(code));
    });
  }

  /**
   * Starts to listen on `sockets` (descriptor number and path). A kept one stays open when the
   * program dies, and can be reused by the next (`libexec/hold-listener`).
   * @param logFile where the process's standard error goes, appended.
   * @throws `engine` with what it said when it could not.
   */
  static async start(sockets: HeldSocket[], logFile: string): Promise<HeldProcess> {
    const fd = openSync(logFile, 'a', 0o640);
    const log = { path: logFile, start: fstatSync(fd).size };
    const child = spawn(program, sockets.map(argumentOf), {
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'pipe', fd],
    });
    closeSync(fd);
    try {
      const identity = child.pid === undefined ? undefined : identify(child.pid);
      const { stdin, stdout } = child;
      if (stdin === null || stdout === null) throw new Error('no pipes');
      stdin.on('error', () => undefined); // its end is seen by whoever waits for the program
      await ready(child, stdout);
      if (identity === undefined) throw new HyperscaleError('engine', 'it ended at once');
      child.unref();
      return new HeldProcess(child, stdin, identity, log);
    } catch (error) {
      child.kill('SIGKILL');
      const reason = error instanceof Error ? error.message : String(error);
      throw new HyperscaleError('engine', `cannot listen: ${reason} ${tail(log)}`.trim(), {
        values: { sockets: sockets.map((s) => s.path), logFile },
        cause: error,
      });
    }
  }

  /** Becomes the program. */
  become(argv: string[]): void {
    keepFromKiller(this.identity.pid);
    this.#input.end(`${argv.join('\0')}\0\0`);
    this.#child.unref();
  }

  /** What it wrote to its log, at most the last 2000 characters. */
  said(): string {
    return tail(this.#log);
  }

  async kill(): Promise<void> {
    await kill(this.identity);
  }
}

function argumentOf({ fd, path, mode, group }: HeldSocket): string {
  const words = [
    ...(mode === undefined ? [] : [mode]),
    ...(group === undefined ? [] : ['group', group]),
  ];
  return [...words, `${fd}=${path}`].join(':');
}

async function ready(child: ChildProcess, stdout: Readable): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error('it did not get ready')), readyTimeoutMs);
  child.once('error', reject);
  child.once('exit', () => reject(new Error('it ended')));
  stdout.once('data', () => resolve());
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    child.removeAllListeners('exit');
    stdout.destroy();
  }
}

function tail(log: { path: string; start: number }): string {
  return readFileSync(log.path).subarray(log.start).toString('utf8').trim().slice(-2000);
}

/** When memory runs out, a process that carries disks should be among the last to go. */
function keepFromKiller(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '-800');
  } catch {
    // Only root may; it works without.
  }
}
