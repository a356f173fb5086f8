/** Child processes of a lab: started in a namespace, logged, awaited. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { HyperscaleError } from '../src/errors.ts';

/** The directory of the programs under test. */
export const binDirectory = fileURLToPath(new URL('../bin/', import.meta.url));

/** How often a starting child is asked whether it answers, in milliseconds. */
const askEveryMs = 20;

/** Arguments of a command inside a namespace: nsenter execs it, so the child's pid is its own. */
export function inNamespace(namespace: string, command: string[]): string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, '--', ...command];
}

/** Starts `command` in its own process group and session, with all output appended to a file. */
export function spawnLogged(
  command: string[],
  logFile: string,
  options: { cwd?: string } = {},
): ChildProcess {
  const [program = '', ...args] = command;
  const log = openSync(logFile, 'a');
  try {
    return spawn(program, args, { ...options, detached: true, stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
}

/** The last lines of a log, for an error message. */
export function tail(logFile: string, lines = 20): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}

/** Resolves with how a child ended; at once when it has. */
export async function ended(child: ChildProcess): Promise<string> {
  const how = (): string =>
    child.signalCode === null ? `exit status ${child.exitCode}` : `signal ${child.signalCode}`;
  if (child.exitCode !== null || child.signalCode !== null) {
    return how();
  }
  return new Promise((resolve, reject) => {
    child.once('exit', () => resolve(how()));
    child.once('error', reject);
  });
}

/**
 * Waits until `answers` resolves to true, asking again and again; `name` is for the messages.
 *
 * @throws HyperscaleError `timeout`, or `internal` when the child ends first; both quote the log
 */
export async function untilAnswering(
  name: string,
  child: ChildProcess,
  logFile: string,
  answers: () => Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const over = Promise.withResolvers<never>();
  const fail = (code: 'timeout' | 'internal', what: string): void =>
    over.reject(new HyperscaleError(code, `${name} ${what}; ${logFile}:\n${tail(logFile)}`));
  ended(child).then(
    (how) => fail('internal', `ended with ${how} before it answered`),
    (error) => fail('internal', `did not start: ${String(error)}`),
  );
  const timer = setTimeout(() => fail('timeout', `did not answer in ${timeoutMs} ms`), timeoutMs);
  try {
    while (!(await Promise.race([answers(), over.promise]))) {
      const pause = new Promise((resolve) => setTimeout(resolve, askEveryMs));
      await Promise.race([pause, over.promise]);
    }
  } finally {
    clearTimeout(timer);
    over.promise.catch(() => undefined);
  }
}
