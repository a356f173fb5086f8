import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { poll } from './poll.ts';

/**
 * QEMU takes a lock on byte 100 + n of an image for each permission it uses; permission 1 is to
 * write (`RAW_LOCK_PERM_BASE` in QEMU's block/file-posix.c, `BLK_PERM_WRITE`).
 */
const writeByte = 101;
/** The locks of all permissions that are used, and from 200 on of those that others must not use. */
const firstByte = 100;
const lastByte = 299;

/**
 * True while any process, or a request that a killed process left in the kernel, may write to the
 * file. A request holds the open file, and with it the lock, until it is finished.
 */
export async function mayBeWritten(...paths: string[]): Promise<boolean> {
  return await areLocked(paths, writeByte, writeByte);
}

/** True while any process of QEMU, or a request of a killed one, has the image open. */
async function isOpen(path: string): Promise<boolean> {
  return await areLocked([path], firstByte, lastByte);
}

async function areLocked(paths: string[], first: number, last: number): Promise<boolean> {
  // Linux takes milliseconds for this file (`locks_start` in fs/locks.c waits for an RCU grace
  // period), in which nothing else here may have to wait.
  const locks = (await readFile('/proc/locks', 'latin1')).split('\n');
  return paths.some((path) => isLocked(locks, path, first, last));
}

function isLocked(locks: string[], path: string, first: number, last: number): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  const name = `${fileSystemOf(path, stat.dev)}:${stat.ino}`;
  return locks.some((line) => {
    // 1: OFDLCK ADVISORY READ -1 fe:00:12345 100 101
    const [, kind, , , , file, start, end] = line.replace('-> ', '').split(/\s+/);
    if (kind !== 'OFDLCK' || file !== name) return false;
    return Number(start) <= last && (end === 'EOF' || Number(end) >= first);
  });
}

/** Names of file systems in `/proc/locks`, by the device that stat(2) tells. */
const fileSystems = new Map<number, string>();

/**
 * What `/proc/locks` calls a file's file system. On btrfs it is not the device that stat(2) tells, so
 * it is looked up by the mount of the open file. The number of an inode alone says nothing: the next
 * file system has one of the same number.
 */
function fileSystemOf(path: string, device: number): string {
  const known = fileSystems.get(device);
  if (known !== undefined) return known;
  const file = openSync(path, 'r');
  try {
    const mount = /^mnt_id:\s*(\d+)$/m.exec(
      readFileSync(`/proc/self/fdinfo/${file}`, 'latin1'),
    )?.[1];
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime ... (proc(5))
    const lines = readFileSync('/proc/self/mountinfo', 'latin1').split('\n');
    const numbers = lines.find((line) => line.startsWith(`${mount} `))?.split(' ')[2] ?? '';
    const name = numbers
      .split(':')
      .map((number) => Number(number).toString(16).padStart(2, '0'))
      .join(':');
    fileSystems.set(device, name);
    return name;
  } finally {
    closeSync(file);
  }
}

/** Waits until nothing can write to any of the files. @returns false when the time was up. */
export async function waitUnwritten(paths: string[], timeoutMs: number): Promise<boolean> {
  if (paths.length === 0) return true;
  return await poll(async () => !(await mayBeWritten(...paths)), timeoutMs);
}

/** Waits until no QEMU has the image open. @returns false when the time was up. */
export async function waitUnopened(path: string, timeoutMs: number): Promise<boolean> {
  return await poll(async () => !(await isOpen(path)), timeoutMs);
}
