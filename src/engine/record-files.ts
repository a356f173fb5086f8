import { readdirSync, rmSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, onDisk, unlinkIfThere } from './durable.ts';
import type { KeptRecord } from './engine.ts';
import { checkVolumeId, isVolumeId } from './ids.ts';
import type { WriteDurably } from './reserve.ts';

/** A record is a few KiB; what is longer than this is not one of ours. */
const largestBytes = 4 << 20;

/** Records of volumes, kept in the pool beside the layers: one small file a volume. */
export class RecordFiles {
  readonly #directory: string;
  readonly #write: WriteDurably;

  /** Makes the directory in a pool that has none, and removes what was not finished. */
  constructor(directory: string, write: WriteDurably) {
    this.#directory = directory;
    this.#write = write;
    makeDirectory(directory);
    for (const name of readdirSync(directory)) {
      if (name.endsWith('~')) rmSync(join(directory, name), { force: true });
    }
  }

  async keep(volume: string, text: string): Promise<void> {
    const path = this.#path(volume);
    await onDisk(path, () => this.#write(path, text));
  }

  async remove(volume: string): Promise<void> {
    await unlinkIfThere(this.#path(volume));
  }

  async all(): Promise<KeptRecord[]> {
    const names = (await readdir(this.#directory)).filter(isVolumeId).sort();
    return Promise.all(names.map(async (volume) => ({ volume, text: await this.#read(volume) })));
  }

  async one(volume: string): Promise<string | null> {
    return this.#read(volume);
  }

  async #read(volume: string): Promise<string | null> {
    const path = this.#path(volume);
    try {
      if ((await stat(path)).size > largestBytes) return null;
      return await readFile(path, 'utf8');
    } catch {
      // Gone this moment, a directory, a bad sector: nothing that can be relied on.
      return null;
    }
  }

  #path(volume: string): string {
    return join(this.#directory, checkVolumeId(volume));
  }
}
