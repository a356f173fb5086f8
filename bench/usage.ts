/** What a measurement cost: processor time of the servers, and what reached the disk. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { HyperscaleError } from '../src/errors.ts';

/** USER_HZ: the unit of times in /proc/PID/stat, the same on every Linux that we run on. */
const ticksPerSecond = 100;
const sectorBytes = 512;

/** Seconds of processor time that the processes have used so far, all threads, user and system. */
export function cpuSeconds(pids: number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the name in parentheses, which may hold anything, the first field is the third.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}

/** Counters of a disk since boot (Documentation/block/stat.rst of the kernel). */
export type DiskCounters = { writes: number; writtenBytes: number; flushes: number };

/** The counters of the disk that a path lies on; undefined where it is on no disk of its own. */
export function diskCounters(path: string): DiskCounters | undefined {
  const { dev } = statSync(path);
  const number = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
  const own = `/sys/dev/block/${number}`;
  // Flushes are counted for whole disks only.
  const disk = existsSync(`${own}/partition`) ? `${own}/..` : own;
  if (!existsSync(`${disk}/stat`)) return undefined;
  const fields = readFileSync(`${disk}/stat`, 'utf8').trim().split(/\s+/).map(Number);
  return {
    writes: fields[4] ?? 0,
    writtenBytes: (fields[6] ?? 0) * sectorBytes,
    flushes: fields[15] ?? 0,
  };
}

export type Memory = {
  /** Bytes in memory, shared libraries included. */
  residentBytes: number;
  /** Bytes that no other process shares. */
  privateBytes: number;
};

/** What a process has in memory. @throws `not-found` when it is gone. */
export function memoryOf(pid: number): Memory {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  } catch (error) {
    throw new HyperscaleError('not-found', `process ${pid} is gone`, { cause: error });
  }
  const bytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return {
    residentBytes: bytes('Rss'),
    privateBytes: bytes('Private_Clean') + bytes('Private_Dirty'),
  };
}
