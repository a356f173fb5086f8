/** A consumer that writes and reads single blocks by command: QEMU's own `qemu-io`. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** One piece of a volume and the byte that fills it. */
export type Piece = { offset: number; length: number; byte: number };

/**
 * A `qemu-io` on an attachment. It reconnects and replays as a guest's QEMU does, and sends no
 * flush unless it is told to.
 */
export class QemuIo {
  readonly #child: ChildProcess;
  #output = '';
  #wake: (() => void) | undefined;

  constructor(endpoint: { socket: string; session: string }) {
    const server = `server.type=unix,server.path=${endpoint.socket},export=${endpoint.session}`;
    const image = `driver=nbd,${server},reconnect-delay=3600,discard=unmap`;
    this.#child = spawn('qemu-io', ['-t', 'writeback', '--image-opts', image]);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString('utf8');
        this.#wake?.();
      });
    }
    this.#child.once('close', () => {
      this.#output += '\nqemu-io ended\n';
      this.#wake?.();
    });
    // Written to a process that is gone; its end is told by `close`.
    this.#child.stdin?.on('error', () => undefined);
  }

  /** Runs `write`, `read` or `discard`; resolves when it is acknowledged, rejects at an error. */
  async command(text: string): Promise<void> {
    this.#child.stdin?.write(`${text}\n`);
    for (;;) {
      const failed = /.*(failed|Pattern verification|ended|[Ee]rror).*/.exec(this.#output);
      if (failed !== null) throw new Error(`${text}: ${failed[0]}`);
      const done = /(wrote|read|discard) \d+\/\d+ bytes.*\n.*\n/.exec(this.#output);
      if (done !== null) {
        this.#output = this.#output.slice(done.index + done[0].length);
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** After a command that failed: the next one may succeed. */
  forgetError(): void {
    this.#output = '';
  }

  async write({ offset, length, byte }: Piece): Promise<void> {
    await this.command(`write -P ${byte} ${offset} ${length}`);
  }

  async read({ offset, length, byte }: Piece): Promise<void> {
    await this.command(`read -P ${byte} ${offset} ${length}`);
  }

  /** Ends it as a power cut would: no flush, no goodbye. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Reads the pieces through an NBD URI and compares; rejects quoting the first that differs. */
export async function expectPieces(uri: string, pieces: readonly Piece[]): Promise<void> {
  const commands = pieces.flatMap(({ offset, length, byte }) => [
    '-c',
    `read -P ${byte} ${offset} ${length}`,
  ]);
  const args = ['-r', '-f', 'raw', uri, ...commands];
  const output = await run('qemu-io', args, { maxBuffer: 64 << 20, timeout: 60_000 }).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  const { stdout, stderr } = output;
  const wrong = /.*(failed|[Ee]rror).*/.exec(stdout) ?? /.+/.exec(stderr);
  if (wrong !== null) throw new Error(wrong[0]);
  const read = stdout.match(/^read \d+\/\d+ bytes/gm)?.length ?? 0;
  if (read !== pieces.length) throw new Error(`${read} of ${pieces.length} pieces were read`);
}

/** 4 KiB blocks, numbered; every one in a place where nothing else is allocated. */
export function block(number: number): Piece {
  return { offset: number * 128 * 1024, length: 4096, byte: (number % 255) + 1 };
}
