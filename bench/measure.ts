/** One cell of the data-plane table. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { startFio } from '../lab/fio.ts';
import { isWrite, type Row } from './rows.ts';
import type { Target } from './target.ts';
import { cpuSeconds, diskCounters } from './usage.ts';

const execute = promisify(execFile);
const chunkBytes = 16 << 20;

export type Measurement = {
  row: string;
  target: string;
  round: number;
  iops: number;
  bytesPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Processor time of all servers for 100,000 requests. */
  cpuSecondsPer100k: number;
  /** What the whole machine's disk was asked for, per request; absent when it is not known. */
  disk?: { flushes: number; writes: number; bytes: number };
};

export type Cell = { row: Row; target: Target; round: number };

/** Runs fio on a target for `seconds`. `directory` takes its files and lies on the disk. */
export async function measure(
  cell: Cell,
  options: { directory: string; sizeBytes: number; seconds: number },
): Promise<Measurement> {
  const { row, target, round } = cell;
  const { directory, sizeBytes, seconds } = options;
  const { rw, bs, iodepth } = row;
  mkdirSync(directory, { recursive: true });
  const servers = target.servers();
  const cpuBefore = cpuSeconds(servers);
  const diskBefore = diskCounters(directory);
  const fio = startFio({
    ...{ uri: target.uri, directory, sizeBytes, rw, bs, iodepth },
    ...{ runtimeSeconds: seconds, verify: false },
  });
  const result = await fio.wait();
  const figures = isWrite(row) ? result.write : result.read;
  const cpu = cpuSeconds(servers) - cpuBefore;
  const disk = diskCounters(directory);
  const each = (after: number, before: number) => (after - before) / figures.operations;
  return {
    row: row.name,
    target: target.name,
    round,
    iops: figures.iops,
    bytesPerSecond: figures.bytesPerSecond,
    p50Ms: figures.p50Ms,
    p99Ms: figures.p99Ms,
    cpuSecondsPer100k: (cpu / figures.operations) * 100_000,
    ...(disk !== undefined && diskBefore !== undefined
      ? {
          disk: {
            flushes: each(disk.flushes, diskBefore.flushes),
            writes: each(disk.writes, diskBefore.writes),
            bytes: each(disk.writtenBytes, diskBefore.writtenBytes),
          },
        }
      : {}),
  };
}

/** Writes every byte of a target once. */
export async function fill(target: Target, sizeBytes: number): Promise<void> {
  const commands: string[] = [];
  for (let offset = 0; offset < sizeBytes; offset += chunkBytes) {
    const length = Math.min(chunkBytes, sizeBytes - offset);
    commands.push('-c', `write -q -P 0x5a ${offset} ${length}`);
  }
  await execute('qemu-io', ['-f', 'raw', ...commands, target.uri]);
}
