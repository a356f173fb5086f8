/**
 * A disk of a lab's host that can fail: slow or failing requests, and power cuts that take what was
 * written and not flushed. A real file system (ext4) on a loop device over a file that a process
 * of ours serves by FUSE, so every layer above the disk is the one of a real host.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HyperscaleError } from '../src/errors.ts';
import { ended } from './child.ts';
import type { DiskAnswer, DiskCommand, DiskFaults } from './disk-server.ts';

const execute = promisify(execFile);

const server = fileURLToPath(new URL('./disk-server.ts', import.meta.url));

export type DiskOptions = {
  /** Where the image and the served file lie; made. */
  directory: string;
  /** Where the file system is mounted; an existing directory. */
  mountPoint: string;
  sizeBytes: number;
  /**
   * False: a file system without a journal, which goes on after errors; one with a journal is
   * read-only from its first failed commit on, until the host is booted.
   */
  journal?: boolean;
};

export class LabDisk {
  readonly mountPoint: string;
  readonly #file: string;
  readonly #server: ChildProcess;
  /** Rejects when the server ends. */
  readonly #gone: Promise<never>;
  #device: string | undefined;
  #answers: Promise<unknown> = Promise.resolve();

  private constructor(options: DiskOptions) {
    const { directory, sizeBytes } = options;
    this.mountPoint = options.mountPoint;
    mkdirSync(directory, { recursive: true });
    this.#file = join(directory, 'disk');
    writeFileSync(this.#file, '');
    const image = join(directory, 'image');
    const created = openSync(image, 'w');
    ftruncateSync(created, sizeBytes);
    closeSync(created);
    this.#server = fork(server, [image, this.#file], { detached: true });
    this.#gone = ended(this.#server).then((how) => {
      throw new HyperscaleError('internal', `the disk of ${this.mountPoint} ended: ${how}`);
    });
    this.#gone.catch(() => undefined);
  }

  /** Makes the disk with an empty file system and mounts it. It goes when this process does. */
  static async create(options: DiskOptions): Promise<LabDisk> {
    const disk = new LabDisk(options);
    try {
      // It answers once its file is there.
      await disk.#ask({ command: 'power-on' });
      const plain = options.journal === false ? ['-O', '^has_journal'] : [];
      const ext4 = [
        ...plain,
        '-q',
        '-F',
        '-m',
        '0',
        '-E',
        'nodiscard,lazy_itable_init=1',
        disk.#file,
      ];
      await run(['mkfs.ext4', ...ext4]);
      await disk.mount();
      return disk;
    } catch (error) {
      await disk.destroy();
      throw error;
    }
  }

  /** Mounts the file system, which recovers it from its journal where it must. */
  async mount(): Promise<void> {
    const attach = ['losetup', '--find', '--show', '--direct-io=on', this.#file];
    this.#device = await run(attach);
    await run(['mount', this.#device, this.mountPoint]);
  }

  async #unmount(): Promise<void> {
    if (this.#device === undefined) return;
    await run(['umount', this.#device]);
    await run(['losetup', '-d', this.#device]);
    this.#device = undefined;
  }

  /** From now on requests fail or are slow as said. */
  async setFaults(faults: Partial<DiskFaults>): Promise<void> {
    await this.#ask({ command: 'faults', faults: { errors: [], delayMs: 0, ...faults } });
  }

  /**
   * The power goes: each block that was written and not flushed survives by the chance `survival`
   * (0 to 1), and what the kernel had not written yet is lost. All processes that use the file
   * system must be gone. `mount` brings it back.
   * @returns how many blocks were lost on their way
   */
  async powerCut(seed: number, survival = 0.5): Promise<number> {
    const { lost } = await this.#ask({ command: 'power-cut', seed, survival });
    await this.#unmount();
    await this.#ask({ command: 'power-on' });
    return lost;
  }

  /** Unmounts and ends everything; the files stay. Idempotent. */
  async destroy(): Promise<void> {
    // Its server takes down what stands on the disk, and ends.
    if (this.#server.connected) this.#server.disconnect();
    await ended(this.#server);
  }

  /** Commands are answered in their order. */
  async #ask(command: DiskCommand): Promise<DiskAnswer> {
    const answered = this.#answers.then(async () => {
      if (!this.#server.connected) {
        throw new HyperscaleError('internal', `the disk of ${this.mountPoint} has no process`);
      }
      this.#server.send(command);
      const stop = new AbortController();
      const answer = once(this.#server, 'message', { signal: stop.signal });
      try {
        const [first] = (await Promise.race([answer, this.#gone])) as [DiskAnswer];
        return first;
      } finally {
        stop.abort();
        answer.catch(() => undefined);
      }
    });
    this.#answers = answered.catch(() => undefined);
    return answered;
  }
}

async function run([program = '', ...args]: string[]): Promise<string> {
  return (await execute(program, args)).stdout.trim();
}
