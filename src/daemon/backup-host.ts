import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CallName, CallOptions, CallProgress, Calls, TargetCalls } from '../backup/calls.ts';
import { type ErrorCode, errorCodes, HyperscaleError } from '../errors.ts';
import type { TargetSettings } from './backup-config.ts';

const program = fileURLToPath(new URL('./backup-process.ts', import.meta.url));

/** A target that says nothing for so long, while it is asked something short, is away. */
const shortTimeoutMs = 60_000;
/** Whoever only asks whether it is there gives up sooner. */
const describeTimeoutMs = 15_000;
/** While it writes or reads much: longer than all tries of one request to a bucket take. */
const longSilenceMs = 20 * 60_000;
/** A process that is asked nothing ends after this. */
const idleMs = 60_000;
/** One that was told to stop is not waited for longer. */
const cancelMs = 10_000;

/** Those that take long, each in a process of its own, which gives way to everything else. */
const longCalls: ReadonlySet<CallName> = new Set(['write', 'verify', 'sweep', 'prune']);

function silenceMs(name: CallName): number {
  if (longCalls.has(name)) return longSilenceMs;
  return name === 'describe' ? describeTimeoutMs : shortTimeoutMs;
}

/** The backup targets of this node: has processes of their own work on them. */
export class BackupHost implements TargetCalls {
  readonly #settings: Readonly<Record<string, TargetSettings>>;
  readonly #logFile: string;
  readonly #kept = new Map<string, TargetProcess>();
  readonly #all = new Set<TargetProcess>();

  constructor(settings: Readonly<Record<string, TargetSettings>>, logDirectory: string) {
    this.#settings = settings;
    this.#logFile = join(logDirectory, 'backup.log');
  }

  names(): string[] {
    return Object.keys(this.#settings).sort();
  }

  async call<Name extends CallName>(
    target: string,
    name: Name,
    args: Calls[Name]['args'],
    options: CallOptions = {},
  ): Promise<Calls[Name]['result']> {
    const settings = Object.hasOwn(this.#settings, target) ? this.#settings[target] : undefined;
    if (settings === undefined) throw this.#unknown(target);
    if (options.signal?.aborted === true) throw cancelled(target);
    const isLong = longCalls.has(name);
    const known = isLong ? undefined : this.#kept.get(target);
    const process = known ?? this.#start(target, settings, isLong);
    if (!isLong) this.#kept.set(target, process);
    try {
      return (await process.ask(name, args, silenceMs(name), options)) as Calls[Name]['result'];
    } finally {
      if (isLong) process.end();
      else process.endAfter(idleMs);
    }
  }

  close(): void {
    for (const process of this.#all) process.end();
  }

  #start(name: string, target: TargetSettings, isLong: boolean): TargetProcess {
    const started = new TargetProcess({ name, target }, this.#logFile, isLong, () => {
      this.#all.delete(started);
      if (this.#kept.get(name) === started) this.#kept.delete(name);
    });
    this.#all.add(started);
    return started;
  }

  #unknown(target: string): HyperscaleError {
    const names = this.names().join(', ');
    return new HyperscaleError('not-found', `this node has no backup target ${target}`, {
      hint:
        names === ''
          ? 'Targets are set in its configuration (backup.targets); see docs/backup.md.'
          : `Its targets are ${names}. See all nodes' with: hscli backup targets`,
      values: { target },
    });
  }
}

type Asked = {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  progress: (progress: CallProgress) => void;
};

type Answer = {
  call: number;
  result?: unknown;
  progress?: CallProgress;
  error?: { code: string; message: string; hint?: string; values?: Record<string, unknown> };
};

class TargetProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, Asked>();
  readonly #ended: () => void;
  #calls = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(
    settings: { name: string; target: TargetSettings },
    logFile: string,
    givesWay: boolean,
    ended: () => void,
  ) {
    this.#name = settings.name;
    this.#ended = ended;
    const log = openSync(logFile, 'a');
    const behind = givesWay ? ['ionice', '-t', '-c', '3', 'nice', '-n', '19'] : [];
    const argv = [...behind, 'setpriv', '--pdeathsig', 'KILL', '--', process.execPath];
    argv.push('--disable-warning=ExperimentalWarning', program);
    this.#child = spawn(argv[0] ?? '', argv.slice(1), {
      stdio: ['ignore', log, log, 'ipc'],
      cwd: '/',
      // Files are read by threads of the pool, and a directory that hangs holds some.
      env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    });
    closeSync(log);
    this.#child.on('message', (message: Answer) => this.#answered(message));
    this.#child.on('error', (error) => this.#over(error.message));
    this.#child.on('exit', (status, signal) => this.#over(`it ended (${signal ?? status})`));
    this.#child.send({ settings });
  }

  async ask(
    name: CallName,
    args: unknown,
    waitMs: number,
    { progress, signal }: CallOptions,
  ): Promise<unknown> {
    clearTimeout(this.#idle);
    const call = ++this.#calls;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const tooLong = () => {
      this.#asked.delete(call);
      reject(away(this.#name, waitMs));
      this.end();
    };
    let timer = setTimeout(tooLong, waitMs);
    const heard = (told: CallProgress) => {
      clearTimeout(timer);
      timer = setTimeout(tooLong, waitMs);
      progress?.(told);
    };
    this.#asked.set(call, { resolve, reject, progress: heard });
    const cancel = () => {
      if (this.#child.connected) this.#child.send({ cancel: call });
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.#asked.delete(call);
        reject(cancelled(this.#name));
        this.end();
      }, cancelMs);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    if (this.#child.connected) this.#child.send({ call, name, args });
    else this.#over('it has ended');
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Ends it when it was asked nothing for so long. */
  endAfter(milliseconds: number): void {
    clearTimeout(this.#idle);
    if (this.#asked.size > 0) return;
    this.#idle = setTimeout(() => this.end(), milliseconds);
    this.#idle.unref();
  }

  end(): void {
    clearTimeout(this.#idle);
    this.#child.kill('SIGKILL');
    this.#over('it was ended');
  }

  #answered({ call, error, progress, result }: Answer): void {
    const asked = this.#asked.get(call);
    if (asked === undefined) return;
    if (progress !== undefined) {
      asked.progress(progress);
      return;
    }
    this.#asked.delete(call);
    if (error === undefined) asked.resolve(result);
    else asked.reject(asOurs(error));
  }

  #over(why: string): void {
    for (const { reject } of this.#asked.values()) {
      reject(
        new HyperscaleError(
          'unavailable',
          `the work on backup target ${this.#name} broke off: ${why}`,
          {
            hint: 'It is tried again; backup.log in the log directory of the node may say more.',
          },
        ),
      );
    }
    this.#asked.clear();
    this.#ended();
  }
}

function asOurs({ code, hint, message, values }: NonNullable<Answer['error']>): HyperscaleError {
  const isOurs = (text: string): text is ErrorCode => text in errorCodes;
  return new HyperscaleError(isOurs(code) ? code : 'internal', message, {
    ...(hint === undefined ? {} : { hint }),
    ...(values === undefined ? {} : { values }),
  });
}

function away(target: string, waitedMs: number): HyperscaleError {
  const seconds = Math.round(waitedMs / 1000);
  return new HyperscaleError(
    'unavailable',
    `backup target ${target} did not answer within ${seconds} s`,
    { hint: 'Look whether its server is up, and whether it is mounted.', values: { target } },
  );
}

function cancelled(target: string): HyperscaleError {
  return new HyperscaleError('cancelled', `the work on backup target ${target} was cancelled`);
}
