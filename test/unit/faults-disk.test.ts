/** The model of a disk with a volatile cache: what was flushed stays, the rest may be lost. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { blockBytes, VolatileDisk } from '../../lab/volatile-disk.ts';

let directory: string;
let file: number;
let disk: VolatileDisk;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hs-disk-'));
  file = openSync(join(directory, 'image'), 'w+');
  ftruncateSync(file, 16 * blockBytes);
  disk = new VolatileDisk(file);
});

afterEach(() => {
  closeSync(file);
  rmSync(directory, { recursive: true });
});

function filled(byte: number, length = blockBytes): Buffer {
  return Buffer.alloc(length, byte);
}

test('what was written is read, flushed or not', () => {
  disk.write(0, filled(1, 3 * blockBytes));
  disk.write(blockBytes + 100, filled(2, 10));
  const expected = filled(1, 3 * blockBytes).fill(2, blockBytes + 100, blockBytes + 110);
  expect(disk.read(0, 3 * blockBytes)).toEqual(expected);
  expect(disk.read(blockBytes + 95, 20)).toEqual(
    expected.subarray(blockBytes + 95, blockBytes + 115),
  );
  disk.flush();
  expect(disk.unflushed).toBe(0);
  expect(disk.read(0, 3 * blockBytes)).toEqual(expected);
});

test('nothing is on stable storage before a flush', () => {
  disk.write(0, filled(1));
  const stored = Buffer.alloc(blockBytes);
  readSync(file, stored, 0, blockBytes, 0);
  expect(stored).toEqual(filled(0));
});

test('a power cut takes what was not flushed, block by block, and what comes after it', () => {
  disk.write(0, filled(1, 2 * blockBytes));
  disk.flush();
  disk.write(0, filled(2, 2 * blockBytes));
  expect(disk.powerCut((block) => block === 1)).toBe(1);
  disk.write(4 * blockBytes, filled(3));
  disk.flush();
  disk.powerOn();
  expect(disk.read(0, blockBytes)).toEqual(filled(1));
  expect(disk.read(blockBytes, blockBytes)).toEqual(filled(2));
  expect(disk.read(4 * blockBytes, blockBytes)).toEqual(filled(0));
  disk.write(0, filled(4));
  disk.flush();
  expect(disk.read(0, blockBytes)).toEqual(filled(4));
});
