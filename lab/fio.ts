/** fio on an NBD export: paced writing that is verified in full, and plain load. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HyperscaleError } from '../src/errors.ts';
import { ended, inNamespace, spawnLogged, tail } from './child.ts';
import type { LabNode } from './node.ts';
import { onProcessEnd } from './process-end.ts';
import { signal } from './processes.ts';

export type FioOptions = {
  /** An NBD URI on a Unix socket; fio does not reconnect, so take a `Consumer`'s. */
  uri: string;
  /** Where fio's job output goes. */
  directory: string;
  sizeBytes: number;
  rw: 'read' | 'write' | 'randread' | 'randwrite' | 'randrw';
  /** Block size in bytes. */
  bs: number;
  iodepth: number;
  runtimeSeconds: number;
  /**
   * With it, every block is written once per pass with crc32c and sequence numbers, paced so
   * that all passes last `runtimeSeconds` (longer when storage is slower), and after each pass
   * every block is read back: corrupt, misplaced and stale blocks are found. Only for `write`
   * and `randwrite`. Without it, unpaced load for exactly `runtimeSeconds`.
   */
  verify: boolean;
  /** Passes of a verified run; from the second on blocks are overwritten. Default 1. */
  passes?: number;
  /** The host that fio runs on: it dies in this host's power cut. */
  host?: LabNode;
};

/** One direction of a run. Latencies are from submission to completion. */
export type FioFigures = {
  operations: number;
  bytes: number;
  iops: number;
  bytesPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** The longest any operation took: the stall that a fault caused. */
  maxMs: number;
};

export type FioResult = { read: FioFigures; write: FioFigures; seconds: number };

export type FioRun = {
  readonly pid: number | undefined;
  /** True once fio ended. */
  readonly over: boolean;
  /** Resolves with the figures; rejects, quoting fio, at an I/O or verification error. */
  wait(): Promise<FioResult>;
  /** SIGKILLs fio and waits for its end; `wait` then rejects. */
  kill(): Promise<void>;
};

type RawDirection = {
  total_ios: number;
  io_bytes: number;
  iops: number;
  bw_bytes: number;
  lat_ns: { max: number };
  clat_ns: { percentile?: Record<string, number> };
};

type RawJob = { error: number; job_runtime: number; read: RawDirection; write: RawDirection };

function figures(raw: RawDirection): FioFigures {
  const percentile = (name: string): number => (raw.clat_ns.percentile?.[name] ?? 0) / 1e6;
  return {
    operations: raw.total_ios,
    bytes: raw.io_bytes,
    iops: raw.iops,
    bytesPerSecond: raw.bw_bytes,
    p50Ms: percentile('50.000000'),
    p99Ms: percentile('99.000000'),
    maxMs: raw.lat_ns.max / 1e6,
  };
}

/** The options that make a run verified; see `FioOptions.verify`. */
function verifiedArguments(options: FioOptions, passes: number): string[] {
  if (options.rw !== 'write' && options.rw !== 'randwrite') {
    throw new HyperscaleError('bad-input', `a run with rw=${options.rw} cannot be verified`);
  }
  const blocks = (options.sizeBytes / options.bs) * passes;
  const rate = Math.max(1, Math.ceil(blocks / options.runtimeSeconds));
  return [
    // A time-based run would leave its last pass unverified and skip the sequence numbers.
    `--loops=${passes}`,
    `--rate_iops=,${rate}`,
    '--verify=crc32c',
    '--do_verify=1',
    '--verify_fatal=1',
    '--serialize_overlap=1',
  ];
}

function fioCommand(options: FioOptions, output: string): string[] {
  const timed = ['--time_based', `--runtime=${options.runtimeSeconds}`, '--norandommap'];
  return [
    'fio',
    // In one process: a killed fio leaves no worker behind.
    '--thread',
    '--name=lab',
    '--ioengine=nbd',
    `--uri=${options.uri}`,
    `--rw=${options.rw}`,
    `--bs=${options.bs}`,
    `--size=${options.sizeBytes}`,
    `--iodepth=${options.iodepth}`,
    // Every run writes other blocks in another order, so old content is never taken for new.
    `--randseed=${randomBytes(4).readUInt32LE()}`,
    '--output-format=json',
    `--output=${output}`,
    ...(options.verify ? verifiedArguments(options, options.passes ?? 1) : timed),
  ];
}

/** The job of fio's JSON output, which follows whatever fio had to say before it. */
function parseOutput(output: string): RawJob | undefined {
  try {
    const text = readFileSync(output, 'utf8');
    const parsed = JSON.parse(text.slice(text.search(/^\{/m))) as { jobs: RawJob[] };
    return parsed.jobs[0];
  } catch {
    return undefined;
  }
}

/** What fio wrote before its JSON: verification errors. */
function complaints(output: string): string {
  const lines = tail(output, Number.POSITIVE_INFINITY).split('\n');
  const json = lines.indexOf('{');
  return lines.slice(0, json === -1 ? 10 : Math.min(json, 10)).join('\n');
}

function resultOf(options: FioOptions, how: string, output: string, log: string): FioResult {
  const job = parseOutput(output);
  if (how !== 'exit status 0' || job === undefined || job.error !== 0) {
    const said = `${tail(log)}\n${complaints(output)}`;
    throw new HyperscaleError('internal', `fio ended with ${how}: ${said}`);
  }
  const result = {
    read: figures(job.read),
    write: figures(job.write),
    seconds: job.job_runtime / 1e3,
  };
  const blocks = Math.floor(options.sizeBytes / options.bs) * (options.passes ?? 1);
  if (options.verify && (result.write.operations < blocks || result.read.operations < blocks)) {
    const counts = `${result.write.operations} written, ${result.read.operations} read`;
    throw new HyperscaleError('internal', `fio did not verify all ${blocks} blocks: ${counts}`);
  }
  return result;
}

/** Starts fio and returns at once. It is killed, at the latest, when this process ends. */
export function startFio(options: FioOptions): FioRun {
  mkdirSync(options.directory, { recursive: true });
  const base = join(options.directory, `fio-${randomBytes(3).toString('hex')}`);
  const [output, log] = [`${base}.json`, `${base}.log`];
  const command = fioCommand(options, output);
  const { host } = options;
  const placed = host === undefined ? command : inNamespace(host.namespace, command);
  const child: ChildProcess = spawnLogged(placed, log, { cwd: options.directory });
  const stop = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      signal(child.pid, 'SIGKILL');
    }
  };
  const forget = onProcessEnd(stop);
  const end = ended(child).finally(forget);
  const result = end.then((how) => resultOf(options, how, output, log));
  // A caller may look at the result only later, or never after a kill.
  result.catch(() => undefined);
  return {
    pid: child.pid,
    get over(): boolean {
      return child.exitCode !== null || child.signalCode !== null;
    },
    wait: () => result,
    kill: async () => {
      stop();
      await end;
    },
  };
}
