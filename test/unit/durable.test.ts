/** Writes on disks that become full in the midst of them. */
import type { FileHandle } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { writeAll } from '../../src/engine/durable.ts';
import { writeSparsely } from '../../src/engine/sparse-write.ts';

/** A file on a disk with so much room, whose writes do what the system call does. */
function fileWithRoom(room: number) {
  const content = Buffer.alloc(64 * 1024);
  let left = room;
  const write = async (bytes: Buffer, from: number, length: number, at: number) => {
    const bytesWritten = Math.min(length, left);
    if (bytesWritten === 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    bytes.copy(content, at, from, from + bytesWritten);
    left -= bytesWritten;
    return { bytesWritten, buffer: bytes };
  };
  return { content, file: { write } as unknown as FileHandle };
}

const bytes = Buffer.alloc(32 * 1024, 9);

test('what is written in part is not taken for written', async () => {
  const { file } = fileWithRoom(20 * 1024);
  await expect(writeAll(file, bytes, 4096)).rejects.toMatchObject({ code: 'ENOSPC' });
  const sparse = fileWithRoom(20 * 1024);
  await expect(writeSparsely(sparse.file, bytes, 0, [])).rejects.toMatchObject({ code: 'ENOSPC' });
});

test('all of it is there when it is written', async () => {
  const { file, content } = fileWithRoom(32 * 1024);
  await writeAll(file, bytes, 4096);
  expect(content.subarray(4096, 36 * 1024).equals(bytes)).toBe(true);
  expect(content.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
});
