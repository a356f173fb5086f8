import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, onDisk, unlinkIfThere } from './durable.ts';
import { checkVolumeId, isVolumeId } from './ids.ts';
import type { WriteDurably } from './reserve.ts';
import { Serial } from './serial.ts';

/** What this node has promised to refuse: one small file a volume, durable before it counts. */
export class FenceFiles {
  readonly #directory: string;
  readonly #write: WriteDurably;
  readonly #serial = new Serial();

  constructor(directory: string, write: WriteDurably) {
    this.#directory = directory;
    this.#write = write;
  }

  /** From now on epochs of the volume below `epoch` are refused. Never goes down. */
  async set(volume: string, epoch: number): Promise<void> {
    const path = this.#path(volume);
    await this.#serial.run(async () => {
      if ((await this.get(volume)) >= epoch) return;
      await onDisk(path, () => this.#write(path, `${JSON.stringify({ epoch })}\n`));
    });
  }

  /** 0 when there is none. */
  async get(volume: string): Promise<number> {
    try {
      const text = await readFile(this.#path(volume), 'utf8');
      return (JSON.parse(text) as { epoch: number }).epoch;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return 0;
      throw error;
    }
  }

  async remove(volume: string): Promise<void> {
    await this.#serial.run(() => unlinkIfThere(this.#path(volume)));
  }

  async volumes(): Promise<string[]> {
    return (await readdir(this.#directory)).filter(isVolumeId);
  }

  #path(volume: string): string {
    return join(this.#directory, checkVolumeId(volume));
  }
}
