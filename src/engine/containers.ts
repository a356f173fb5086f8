import { randomBytes } from 'node:crypto';
import { open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, onDisk, unlinkIfThere } from './durable.ts';
import { containerBytes } from './layer-files.ts';
import { runTool } from './run-tool.ts';
import { Serial } from './serial.ts';

/** Created so that a 4 KiB write needs no copy of the rest of its cluster (subclusters). */
export const layerOptions = 'extended_l2=on,cluster_size=128k';
/**
 * Up to this size the tables are made with the file: a first write then changes one entry of a table
 * instead of adding tables (8 KiB instead of 135 KiB, and a quarter of the flushes at depth). Beyond
 * it making them takes too long (3.3 s for 1 TiB, 148 MB).
 */
const preallocateUpTo = 256 * 2 ** 30;
/** Suffix of files that are not finished; they are removed at the next start. */
export const unfinished = '.tmp';

/**
 * New files for layers, in a directory of the pool. To create one means to wait for the disk, which
 * under load takes seconds, so some are kept ready: the spares.
 */
export class Containers {
  readonly #directory: string;
  readonly #serial = new Serial();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A new name for a file that will be moved away. */
  temporary(): string {
    return join(this.#directory, `${token()}${unfinished}`);
  }

  /** Path of an empty qcow2 layer, already on stable storage, for the caller to move away. */
  async take(sizeBytes: number): Promise<string> {
    for (const name of await readdir(this.#directory)) {
      if (spareSize(name) !== sizeBytes) continue;
      const taken = this.temporary();
      try {
        await rename(join(this.#directory, name), taken);
        return taken;
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error; // another layer took it
      }
    }
    return await this.#create(sizeBytes);
  }

  /** Path of a file of a container's length without content, for a copy to be filled. */
  async takeEmpty(sizeBytes: number): Promise<string> {
    const path = this.temporary();
    await lengthen(path, 'wx', sizeBytes);
    return path;
  }

  /** Keeps one spare of each of these sizes and removes others. */
  async keepSpares(sizesBytes: number[]): Promise<void> {
    await this.#serial.run(async () => {
      const missing = new Set(sizesBytes);
      for (const name of await readdir(this.#directory)) {
        const size = spareSize(name);
        if (size !== undefined && !missing.delete(size)) {
          await unlinkIfThere(join(this.#directory, name));
        }
      }
      for (const size of missing) {
        const path = await onDisk(this.#directory, () => this.#create(size));
        await rename(path, join(this.#directory, `${size}-${token()}.qcow2`));
      }
    });
  }

  async #create(sizeBytes: number): Promise<string> {
    const path = this.temporary();
    try {
      const size = String(sizeBytes);
      const options =
        sizeBytes > preallocateUpTo ? layerOptions : `${layerOptions},preallocation=metadata`;
      await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, path, size]);
      await lengthen(path, 'r+', sizeBytes);
      return path;
    } catch (error) {
      await unlinkIfThere(path);
      throw error;
    }
  }
}

async function lengthen(path: string, flags: 'wx' | 'r+', sizeBytes: number): Promise<void> {
  const file = await open(path, flags, 0o640);
  try {
    await file.truncate(containerBytes(sizeBytes));
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The size of the volume that a spare is for, or undefined when it is not a finished spare. */
function spareSize(name: string): number | undefined {
  const match = /^(\d+)-[0-9a-f]+\.qcow2$/.exec(name);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

function token(): string {
  return randomBytes(8).toString('hex');
}
