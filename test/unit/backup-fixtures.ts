/** Volumes and repositories for the tests of backups. */
import { expect } from 'vitest';
import type { BackupReader, BackupSource, Repository } from '../../src/backup/index.ts';
import { createRepository } from '../../src/backup/index.ts';
import { MemoryTarget } from './backup-memory-target.ts';

export const chunk = 4096;
export const key = Buffer.from('an operator’s key, long enough');

export async function memoryRepository(options: { key?: Buffer; chunkBytes?: number } = {}) {
  const target = new MemoryTarget();
  const repository = await createRepository(target, { chunkBytes: chunk, ...options });
  return { target, repository };
}

/** What a volume holds, and what was read of it. */
export class FakeVolume {
  content: Buffer;
  readonly reads: { offset: number; length: number }[] = [];

  constructor(sizeBytes: number) {
    this.content = Buffer.alloc(sizeBytes);
  }

  read = async (offset: number, length: number): Promise<Buffer> => {
    this.reads.push({ offset, length });
    return Buffer.from(this.content.subarray(offset, offset + length));
  };

  /** A backup of all of it. */
  source(more: Partial<BackupSource> = {}): BackupSource {
    return {
      ...{ volume: 'v1', volumeName: 'data', name: 'b', at: 1_800_000_000_000, parent: null },
      ...{ sizeBytes: this.content.length, changed: null, read: this.read },
      ...more,
    };
  }
}

/** Content that no compression makes smaller; the same for the same seed. */
export function noise(bytes: number, seed: number): Buffer {
  const content = Buffer.alloc(bytes);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < bytes; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    content[i] = state & 255;
  }
  return content;
}

/** All of a backup, read as pieces in order. */
export async function restore(reader: BackupReader): Promise<Buffer> {
  const content = Buffer.alloc(reader.entry.sizeBytes);
  let end = 0;
  for await (const piece of reader.chunks()) {
    if (piece.offset < end) throw new Error('pieces are out of order');
    piece.content.copy(content, piece.offset);
    end = piece.offset + piece.content.length;
  }
  return content;
}

export async function restored(repository: Repository, volume: string, id: string) {
  return await restore(await repository.open(volume, id));
}

/** What an error of ours says of itself. */
export function code(expected: string) {
  return { code: expected } as const;
}

/** As `toEqual`, but quick for megabytes. */
export function expectSame(found: Uint8Array, expected: Uint8Array): void {
  expect(found.length).toBe(expected.length);
  expect(Buffer.compare(found, expected)).toBe(0);
}
