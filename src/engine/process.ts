import { readdirSync, readFileSync } from 'node:fs';
import { HyperscaleError } from '../errors.ts';
import { poll } from './poll.ts';

/**
 * A process by its id and the moment it was started (clock ticks since boot, field 22 of
 * /proc/PID/stat), so that a process that got a recycled id is never taken for it, or killed.
 */
export type ProcessIdentity = { pid: number; startTime: string };

type Stat = { state: string; startTime: string };

/** The identity of a running process, or undefined when there is none. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTime: stat.startTime };
}

/**
 * True when the process can do nothing more. A zombie counts as gone only when none of its threads
 * is left: the main thread of a killed process may be a zombie while another is still in a write.
 */
export function isGone(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  if (stat === undefined || stat.startTime !== identity.startTime) return true;
  return (stat.state === 'Z' || stat.state === 'X') && threads(identity.pid) <= 1;
}

/** Waits until the process is gone. @throws `timeout` */
export async function waitGone(identity: ProcessIdentity, timeoutMs: number): Promise<void> {
  // Linux tells only a parent, or the holder of a pidfd, about an end; an adopted process is
  // neither's here, so its state is read again and again.
  if (await poll(() => isGone(identity), timeoutMs)) return;
  throw new HyperscaleError('timeout', `process ${identity.pid} did not end in ${timeoutMs} ms`, {
    hint: 'A process in state D waits for a disk: look at the kernel log.',
    values: { pid: identity.pid },
  });
}

/** SIGKILL, and waits until the process is gone; one that is gone already is fine. */
export async function kill(identity: ProcessIdentity, timeoutMs = 30_000): Promise<void> {
  if (isGone(identity)) return;
  try {
    process.kill(identity.pid, 'SIGKILL');
  } catch (error) {
    if (!isGone(identity)) throw error;
  }
  await waitGone(identity, timeoutMs);
}

function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name of the program stands in parentheses and may hold anything, even parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], fields[19]];
  return state === undefined || startTime === undefined ? undefined : { state, startTime };
}

function threads(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}
