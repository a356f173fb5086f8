import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { BackupEntry } from '../backup/entry.ts';
import { HyperscaleError } from '../errors.ts';
import { heardError, type SourceLine, type SourceRequest } from './lines.ts';

const program = fileURLToPath(new URL('main.ts', import.meta.url));
/** A target that does not even tell by then which backups it has is away. */
const openTimeoutMs = 120_000;
/** How long it may take to let go of the backup. */
const closeTimeoutMs = 10_000;

/** A backup that a program beside this one serves over NBD. */
export class ServedBackup {
  readonly entry: BackupEntry;
  /** What is served: the backup, and zeros up to what a volume can have. */
  readonly sizeBytes: number;
  readonly socket: string;
  /** Why the first read that failed did; null while all went well. */
  failure: HyperscaleError | null = null;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, null>,
    ended: Promise<void>,
    served: { entry: BackupEntry; sizeBytes: number; socket: string },
  ) {
    this.#child = child;
    this.#ended = ended;
    this.entry = served.entry;
    this.sizeBytes = served.sizeBytes;
    this.socket = served.socket;
  }

  /**
   * Opens a backup, pins it, and serves it until `close`.
   * @throws `not-found`, `bad-input` when the key is missing or wrong, or several backups are meant,
   *   `damaged`, `unavailable` when the target is not reached, `timeout`, `cancelled`
   */
  static async start(
    request: SourceRequest,
    logDirectory: string,
    signal: AbortSignal,
  ): Promise<ServedBackup> {
    const log = openSync(join(logDirectory, 'restore.log'), 'a', 0o640);
    const args = ['--disable-warning=ExperimentalWarning', program];
    const stdio: ['pipe', 'pipe', number] = ['pipe', 'pipe', log];
    const child = spawn(process.execPath, args, { stdio }) as ChildProcessByStdio<
      Writable,
      Readable,
      null
    >;
    closeSync(log);
    const first = Promise.withResolvers<Extract<SourceLine, { kind: 'ready' }>>();
    const ended = new Promise<void>((resolve) => {
      child.once('close', resolve);
      child.once('error', () => resolve());
    });
    child.once('error', first.reject);
    ended.then(
      () =>
        first.reject(new HyperscaleError('unavailable', 'the program that reads backups ended')),
      first.reject,
    );
    let served: ServedBackup | null = null;
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as SourceLine;
      if (line.kind === 'ready') first.resolve(line);
      else if (served === null) first.reject(heardError(line.error));
      else served.failure ??= heardError(line.error);
    });
    // It may be gone before it has read this.
    child.stdin.on('error', () => undefined);
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const cancel = () =>
      first.reject(new HyperscaleError('cancelled', 'the restore was cancelled'));
    const timer = setTimeout(() => {
      const text = `target ${request.target} did not answer in ${openTimeoutMs / 1_000} s`;
      first.reject(new HyperscaleError('timeout', text));
    }, openTimeoutMs);
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      const { entry, sizeBytes } = await first.promise;
      served = new ServedBackup(child, ended, { entry, sizeBytes, socket: request.socket });
      return served;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Lets go of the backup and ends the program. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), closeTimeoutMs);
    await this.#ended;
    clearTimeout(timer);
  }
}
