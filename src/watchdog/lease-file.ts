import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const name = 'lease-confirmed';

/** Tells the watchdog when the store last confirmed this node's lease (boot clock, ms). */
export function writeLeaseConfirmed(runDirectory: string, at: number): void {
  const path = join(runDirectory, name);
  writeFileSync(`${path}~`, `${at}\n`);
  renameSync(`${path}~`, path);
}

/** 0 when it never was. */
export function readLeaseConfirmed(runDirectory: string): number {
  try {
    return Number(readFileSync(join(runDirectory, name), 'utf8')) || 0;
  } catch {
    return 0;
  }
}
