/**
 * What runs inside a network namespace, and how it is ended. Everything here is synchronous, so
 * that a lab can also be taken down while its owner process is already exiting.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { HyperscaleError } from '../src/errors.ts';

/** What a process of a node is there for. */
export type Role =
  | 'daemon'
  | 'watchdog'
  | 'replica-server'
  | 'head'
  | 'proxy'
  | 'gateway'
  | 'device'
  | 'etcd'
  | 'guest'
  | 'other';

/** The directories below a node's run directory whose processes have a role of their own. */
const roleOfDirectory: [string, Role][] = [
  ['replica', 'replica-server'],
  ['heads', 'head'],
  ['proxies', 'proxy'],
  ['gateways', 'gateway'],
  ['devices', 'device'],
];

/** Programs that a lab starts with its directory in their arguments, in no namespace or in any. */
const labPrograms = ['qemu-storage-daemon', 'fio', 'etcd'];

function isLabProgram(program: string): boolean {
  return labPrograms.includes(program) || program.startsWith('qemu-system-');
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Runs `read`, and answers `absent` for a process that has gone meanwhile. */
function ofProcess<T>(read: () => T, absent: T): T {
  try {
    return read();
  } catch {
    return absent;
  }
}

/** The arguments of a process; empty when it is gone or a zombie. */
export function commandLine(pid: number): string[] {
  const raw = ofProcess(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '');
  return raw === '' ? [] : raw.replace(/\0$/, '').split('\0');
}

/** Clock ticks since boot at which a process started: with the pid, its identity (proc(5)). */
export function startTime(pid: number): string | undefined {
  const stat = ofProcess(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), '');
  // The name in parentheses may hold anything; the fields after it are counted from the third.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

/**
 * Pids of all living processes in the named network namespace; zombies have none any more. The
 * names are the ones of `ip netns`.
 */
export function pidsInNamespace(namespace: string): number[] {
  const inode = ofProcess(() => statSync(`/run/netns/${namespace}`).ino, -1);
  const link = `net:[${inode}]`;
  return allPids().filter(
    (pid) => ofProcess(() => readlinkSync(`/proc/${pid}/ns/net`), '') === link,
  );
}

/** Pids of QEMU, fio and etcd processes that name a file below `directory` in their arguments. */
export function pidsUsingDirectory(directory: string): number[] {
  return allPids().filter((pid) => {
    const [program, ...rest] = commandLine(pid);
    return (
      program !== undefined &&
      isLabProgram(basename(program)) &&
      rest.some((argument) => argument.includes(`${directory}/`))
    );
  });
}

/** The role of a process on a node with this run directory, from its arguments. */
export function roleOf(pid: number, runDirectory: string): Role {
  const line = commandLine(pid);
  const program = basename(line[0] ?? '');
  if (line.some((argument) => argument.endsWith('src/daemon/main.ts'))) {
    return 'daemon';
  }
  if (line.some((argument) => argument.endsWith('src/watchdog/main.ts'))) {
    return 'watchdog';
  }
  if (program === 'etcd') {
    return 'etcd';
  }
  if (program.startsWith('qemu-system-')) {
    return 'guest';
  }
  const match = roleOfDirectory.find(([directory]) =>
    line.some((argument) => argument.includes(`${runDirectory}/${directory}/`)),
  );
  return match === undefined ? 'other' : match[1];
}

/** Sends a signal; a process that is gone already is no error. True when it was there. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') {
      return false;
    }
    throw error;
  }
}

function pauseSync(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/**
 * SIGKILLs all that `find` lists, again and again until it lists nothing: a process may fork
 * between the listing and its death. Blocks.
 *
 * @throws HyperscaleError `timeout` when something is still there after `timeoutMs`
 */
export function killUntilNone(find: () => number[], timeoutMs = 20_000): void {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const pids = find().filter((pid) => pid !== process.pid);
    if (pids.length === 0) {
      return;
    }
    for (const pid of pids) {
      signal(pid, 'SIGKILL');
    }
    if (performance.now() > deadline) {
      const names = pids.map((pid) => `${pid} (${commandLine(pid).join(' ')})`).join(', ');
      throw new HyperscaleError('timeout', `processes survive SIGKILL: ${names}`, {
        hint: 'Look at /proc/PID/stack: they hang in the kernel, probably on a disk.',
      });
    }
    pauseSync(3);
  }
}
