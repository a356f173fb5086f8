import { readFileSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * QEMU takes a lock on byte 100 + n of an image for each permission it uses; permission 1 is to
 * write (`RAW_LOCK_PERM_BASE` in QEMU's block/file-posix.c, `BLK_PERM_WRITE`).
 */
const writeByte = 101;

/**
 * True while any process, or a request that a killed process left in the kernel, may write to the
 * file. A request holds the open file, and with it the lock, until it is finished.
 */
export function mayBeWritten(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  const locks = readFileSync('/proc/locks', 'latin1').split('\n');
  return locks.some((line) => {
    // 1: OFDLCK ADVISORY READ -1 fe:00:12345 100 101
    const [, kind, , , , file, start, end] = line.replace('-> ', '').split(/\s+/);
    if (kind !== 'OFDLCK' || file === undefined || !file.endsWith(`:${stat.ino}`)) return false;
    return Number(start) <= writeByte && (end === 'EOF' || Number(end) >= writeByte);
  });
}

/** Waits until nothing can write to any of the files. @returns false when the time was up. */
export async function waitUnwritten(paths: string[], timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pause = 1; paths.some(mayBeWritten); pause = Math.min(pause * 2, 20)) {
    if (performance.now() > deadline) return false;
    await delay(pause);
  }
  return true;
}
