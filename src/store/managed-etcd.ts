/**
 * The single-member etcd that the first node runs when no endpoints are given. It lives apart from
 * the daemon: a daemon that is restarted adopts it, and as long as a daemon lives, an etcd that
 * dies is started again.
 */

import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, HyperscaleError } from '../errors.ts';
import type { ProcessIdentity } from './etcd-process.ts';
import { findRunning, isAlive, removePidFile, signalProcess, spawnEtcd } from './etcd-process.ts';
import type { StoreLog } from './log.ts';

export type ManagedEtcdOptions = {
  /** Its own directory; created when missing. */
  dataDirectory: string;
  runDirectory: string;
  logDirectory: string;
  /** Other nodes reach it here; it also listens on 127.0.0.1. */
  address: string;
  clientPort: number;
  peerPort: number;
  log: StoreLog;
  /** How long a start may take (it replays its log), milliseconds. */
  startTimeoutMs?: number;
};

export type ManagedEtcd = {
  /** What to give to `createEtcdStore`. */
  endpoints: string[];
  /** The process that serves at the moment. */
  pid(): number;
  /** Stops watching over it and leaves it running. */
  release(): void;
  /** Stops it orderly. */
  stop(): Promise<void>;
  /** Kills it, for tests of crashes; it is not started again. */
  kill(): Promise<void>;
};

const firstBackoffMs = 100;
const longestBackoffMs = 5000;
/** An etcd that lived longer than this is started again at once. */
const steadyMs = 10_000;
const lookEveryMs = 250;

/**
 * Starts or adopts etcd, and returns when it serves.
 * @throws HyperscaleError `engine` when it is missing or does not start, `old-software` before 3.4,
 *   `already-running` when something else answers at its port.
 */
export async function startManagedEtcd(options: ManagedEtcdOptions): Promise<ManagedEtcd> {
  const { runDirectory, logDirectory, dataDirectory, log } = options;
  const ended = new AbortController();
  let current: ProcessIdentity;
  let exited: Promise<string>;

  async function start(): Promise<void> {
    if (await answers(options)) throw portTaken(options);
    const logFile = join(logDirectory, 'etcd.log');
    const child = await spawnEtcd({
      args: etcdArguments(options),
      dataDirectory,
      runDirectory,
      logFile,
    });
    current = child.identity;
    exited = child.exited;
    try {
      await untilServing(options, child.exited, ended.signal);
    } catch (error) {
      await signalProcess(current, 'SIGKILL');
      throw withLogTail(error, await tailOf(logFile));
    }
  }

  await Promise.all([runDirectory, logDirectory].map((path) => mkdir(path, { recursive: true })));
  const running = await findRunning(runDirectory, dataDirectory);
  if (running === undefined) await start();
  else {
    current = running;
    exited = untilGone(running, ended.signal);
    await untilServing(options, exited, ended.signal);
    log.info({ pid: running.pid }, 'adopted the running etcd');
  }

  async function watchOver(): Promise<void> {
    let backoffMs = firstBackoffMs;
    for (;;) {
      const since = performance.now();
      const why = await exited;
      if (ended.signal.aborted) return;
      log.error({ pid: current.pid, why }, 'etcd ended; starting it again');
      if (performance.now() - since > steadyMs) backoffMs = firstBackoffMs;
      for (let serves = false; !serves; ) {
        await sleep(backoffMs, undefined, { signal: ended.signal }).catch(() => undefined);
        if (ended.signal.aborted) return;
        backoffMs = Math.min(backoffMs * 2, longestBackoffMs);
        serves = await start().then(
          () => true,
          (error: unknown) => {
            log.error({ reason: errorText(error) }, 'etcd does not start; trying again');
            return false;
          },
        );
      }
    }
  }
  const watching = watchOver();

  async function end(signal: NodeJS.Signals): Promise<void> {
    ended.abort();
    await signalProcess(current, signal);
    while (await isAlive(current)) await sleep(10);
    await watching;
    await removePidFile(runDirectory);
  }

  return {
    endpoints: [clientUrl(options.address, options.clientPort)],
    pid: () => current.pid,
    release: () => ended.abort(),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

function clientUrl(address: string, port: number): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function etcdArguments(options: ManagedEtcdOptions): string[] {
  const { address, clientPort, peerPort, dataDirectory } = options;
  const peer = clientUrl(address, peerPort);
  const client = clientUrl(address, clientPort);
  const listen = [...new Set([client, clientUrl('127.0.0.1', clientPort)])].join(',');
  return [
    '--name=hyperscale',
    `--data-dir=${dataDirectory}`,
    `--listen-client-urls=${listen}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=hyperscale=${peer}`,
    // With nobody to elect but itself, waiting long for other candidates only delays the start.
    '--heartbeat-interval=20',
    '--election-timeout=100',
    // History is needed for as long as an answer may be lost, and to look back at a fault.
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    '--quota-backend-bytes=2147483648',
    '--snapshot-count=10000',
    '--logger=zap',
    '--log-outputs=stderr',
    '--log-level=warn',
  ];
}

/** Does anything speak HTTP at the client port? */
async function answers(options: ManagedEtcdOptions): Promise<boolean> {
  return (await ask(options, '/version')) !== undefined;
}

/** A loopback request to etcd; undefined when nobody answers in time. */
async function ask(options: ManagedEtcdOptions, path: string): Promise<unknown> {
  try {
    const response = await fetch(`${clientUrl(options.address, options.clientPort)}${path}`, {
      signal: AbortSignal.timeout(1000),
    });
    return JSON.parse(await response.text()) as unknown;
  } catch {
    return undefined;
  }
}

/** Waits until etcd has a leader and answers; it sends no event that we could wait for. */
async function untilServing(
  options: ManagedEtcdOptions,
  exited: Promise<string>,
  ended: AbortSignal,
): Promise<void> {
  const limit = performance.now() + (options.startTimeoutMs ?? 60_000);
  let gone: string | undefined;
  exited.then(
    (why) => {
      gone = why;
    },
    () => undefined,
  );
  while (performance.now() < limit && !ended.aborted) {
    const health = (await ask(options, '/health')) as { health?: string } | undefined;
    if (gone !== undefined) throw new HyperscaleError('engine', `etcd ended with ${gone}`);
    if (health?.health === 'true') return refuseOldVersion(await ask(options, '/version'));
    await sleep(20);
  }
  throw new HyperscaleError('engine', 'etcd did not serve in time');
}

function refuseOldVersion(answer: unknown): void {
  const version = (answer as { etcdserver?: string } | undefined)?.etcdserver ?? 'unknown';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 3 || (major === 3 && minor >= 4)) return;
  throw new HyperscaleError('old-software', `etcd ${version} is too old; 3.4 is needed`, {
    hint: 'upgrade etcd-server, or give the endpoints of a newer etcd',
    values: { version },
  });
}

/** Resolves when a process that is not our child is gone. */
async function untilGone(identity: ProcessIdentity, ended: AbortSignal): Promise<string> {
  while (!ended.aborted && (await isAlive(identity))) {
    await sleep(lookEveryMs, undefined, { signal: ended, ref: false }).catch(() => undefined);
  }
  return 'an unknown status';
}

function portTaken(options: ManagedEtcdOptions): HyperscaleError {
  const { address, clientPort } = options;
  return new HyperscaleError(
    'already-running',
    `something else answers at ${address}:${clientPort}, where etcd is to listen`,
    { hint: 'stop it, or set another ports.etcdClient', values: { address, clientPort } },
  );
}

function withLogTail(error: unknown, tail: string): HyperscaleError {
  if (error instanceof HyperscaleError && error.code !== 'engine') return error;
  return new HyperscaleError('engine', `cannot start etcd: ${errorText(error)}`, {
    hint: 'its log says why',
    values: { log: tail },
    cause: error,
  });
}

/** The last lines of a log. */
async function tailOf(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return '';
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 2000);
    const { buffer } = await file.read({ buffer: Buffer.alloc(length), position: size - length });
    return buffer.toString('utf8').trim().split('\n').slice(-5).join('\n');
  } finally {
    await file.close();
  }
}
