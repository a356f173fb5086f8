/** A raw file behind the QEMU that serves volumes: what they are compared with. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { onProcessEnd } from '../lab/process-end.ts';
import type { FileAccess } from '../src/engine/graphs.ts';
import { HyperscaleError } from '../src/errors.ts';

const startTimeoutMs = 10_000;
let count = 0;

export class RawServer {
  readonly #base: string;
  readonly #child: ChildProcess;
  readonly #forget: () => void;

  private constructor(base: string, child: ChildProcess) {
    this.#base = base;
    this.#child = child;
    this.#forget = onProcessEnd(() => child.kill('SIGKILL'));
  }

  /**
   * Makes a sparse file of that size and serves it, opened as volumes' files are (`fileNode`),
   * write-back and writethrough at the same time.
   */
  static async start(directory: string, sizeBytes: number, access: FileAccess): Promise<RawServer> {
    mkdirSync(directory, { recursive: true });
    const base = join(directory, `raw${++count}`);
    closeSync(openSync(`${base}.img`, 'wx'));
    await truncate(`${base}.img`, sizeBytes);
    const { aio, direct } = access;
    const file = { driver: 'file', filename: `${base}.img`, aio, cache: { direct } };
    const node = { driver: 'raw', 'node-name': 'raw', file };
    const log = openSync(`${base}.log`, 'a');
    const child = spawn(
      'qemu-storage-daemon',
      [
        ...['--blockdev', JSON.stringify(node)],
        ...['--nbd-server', `addr.type=unix,addr.path=${base}.sock,max-connections=0`],
        ...['--export', 'type=nbd,id=wb,node-name=raw,name=write-back,writable=on'],
        ...[
          '--export',
          'type=nbd,id=wt,node-name=raw,name=writethrough,writable=on,writethrough=on',
        ],
      ],
      { stdio: ['ignore', log, log] },
    );
    closeSync(log);
    const server = new RawServer(base, child);
    const deadline = performance.now() + startTimeoutMs;
    while (!existsSync(`${base}.sock`)) {
      if (child.exitCode !== null || performance.now() > deadline) {
        const said = readFileSync(`${base}.log`, 'utf8');
        await server.remove();
        throw new HyperscaleError('engine', `the raw file is not served: ${said}`);
      }
      await delay(10);
    }
    return server;
  }

  uri(writethrough: boolean): string {
    const name = writethrough ? 'writethrough' : 'write-back';
    return `nbd+unix:///${name}?socket=${this.#base}.sock`;
  }

  get pid(): number {
    if (this.#child.pid === undefined) {
      throw new HyperscaleError('engine', 'qemu-storage-daemon did not start');
    }
    return this.#child.pid;
  }

  /** Ends the server and removes the file. */
  async remove(): Promise<void> {
    this.#forget();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const end = Promise.withResolvers<void>();
      this.#child.once('exit', () => end.resolve());
      this.#child.kill('SIGKILL');
      await end.promise;
    }
    for (const suffix of ['img', 'log', 'sock']) {
      rmSync(`${this.#base}.${suffix}`, { force: true });
    }
  }
}
