/** The etcd process on this host: where it is noted, whether it lives, how it is started. */

import { spawn } from 'node:child_process';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HyperscaleError } from '../errors.ts';

/** A process, told from a later one with the same number by its start time. */
export type ProcessIdentity = { pid: number; startTime: string };

const installHint = "'apt-get install etcd-server', or give the endpoints of an etcd in the config";

/** Start time in clock ticks since boot, or undefined when there is no such (living) process. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // proc(5): the fields after the command name, which is in parentheses and may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19];
}

/** Does the process live (and is it still the same one)? */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await startTimeOf(identity.pid)) === identity.startTime;
}

/** Signals the process if it is still the one we mean. */
export async function signalProcess(
  identity: ProcessIdentity,
  signal: NodeJS.Signals,
): Promise<void> {
  if (!(await isAlive(identity))) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

const pidFile = (runDirectory: string) => join(runDirectory, 'etcd.pid');

/** The etcd that an earlier daemon started and that still lives on this data directory. */
export async function findRunning(
  runDirectory: string,
  dataDirectory: string,
): Promise<ProcessIdentity | undefined> {
  return (await readPidFile(runDirectory, dataDirectory)) ?? (await searchProcesses(dataDirectory));
}

/** For a daemon that was killed before it wrote the file, or lost its run directory. */
async function searchProcesses(dataDirectory: string): Promise<ProcessIdentity | undefined> {
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    const [program = '', ...args] = command.split('\0');
    if (basename(program) !== 'etcd' || !args.includes(`--data-dir=${dataDirectory}`)) continue;
    const startTime = await startTimeOf(Number(entry));
    if (startTime !== undefined) return { pid: Number(entry), startTime };
  }
  return undefined;
}

async function readPidFile(
  runDirectory: string,
  dataDirectory: string,
): Promise<ProcessIdentity | undefined> {
  const text = await readFile(pidFile(runDirectory), 'utf8').catch(() => undefined);
  const [pid, startTime, directory] = text?.trim().split(' ') ?? [];
  if (pid === undefined || startTime === undefined) return undefined;
  if (decodeURIComponent(directory ?? '') !== dataDirectory) return undefined;
  const identity = { pid: Number(pid), startTime };
  return (await isAlive(identity)) ? identity : undefined;
}

async function writePidFile(
  runDirectory: string,
  dataDirectory: string,
  identity: ProcessIdentity,
): Promise<void> {
  const path = pidFile(runDirectory);
  const line = `${identity.pid} ${identity.startTime} ${encodeURIComponent(dataDirectory)}\n`;
  await writeFile(`${path}.new`, line);
  await rename(`${path}.new`, path);
}

export async function removePidFile(runDirectory: string): Promise<void> {
  await rm(pidFile(runDirectory), { force: true });
}

/**
 * Starts etcd so that it outlives us, with its output in `logFile`.
 * @throws HyperscaleError `engine` when it is not installed.
 */
export async function spawnEtcd(options: {
  args: string[];
  dataDirectory: string;
  runDirectory: string;
  logFile: string;
}): Promise<{ identity: ProcessIdentity; exited: Promise<string> }> {
  const { args, dataDirectory, runDirectory, logFile } = options;
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  const log = await open(logFile, 'a');
  try {
    const child = spawn('etcd', args, {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      // Variables named ETCD_… would be taken for settings.
      env: { PATH: process.env.PATH },
    });
    const exited = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`));
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'ENOENT' ? 'it is not installed' : cause.message;
        reject(
          new HyperscaleError('engine', `cannot start etcd: ${why}`, { hint: installHint, cause }),
        );
      });
    });
    child.unref();
    const pid = child.pid ?? 0;
    const identity = { pid, startTime: (await startTimeOf(pid)) ?? '' };
    await writePidFile(runDirectory, dataDirectory, identity);
    return { identity, exited };
  } finally {
    await log.close();
  }
}
