import { spawn } from 'node:child_process';
import { type ErrorCode, errorCodes, HyperscaleError } from '../errors.ts';
import { type Fields, fieldsOf } from './properties.ts';

export type HscliOptions = {
  /**
   * What runs `hscli` as root, each argument an element: `['sudo']`, or
   * `['sudo', 'nova-rootwrap', '/etc/nova/rootwrap.conf']`. Empty when this process is root. No shell
   * sees any of it.
   */
  rootHelper: readonly string[];
  /** The program; a path, or a name to be found in PATH. */
  program: string;
  /** How long one call may take, in seconds; from 1 to 86400. */
  timeoutSeconds: number;
};

/** No answer or complaint of `hscli` to a call of ours is longer. */
const maxOutputBytes = 2 ** 20;
/** Longer than any name; Linux itself takes 128 KiB. */
const maxArgumentBytes = 4096;
/** `hscli` ends its call itself when its time is up; it gets this much longer. */
const graceMs = 5_000;

/** `hscli`, called as root by a process that need not be root itself. */
export class Hscli {
  readonly #options: HscliOptions;

  constructor(options: HscliOptions) {
    const { timeoutSeconds } = options;
    if (!(timeoutSeconds >= 1 && timeoutSeconds <= 86_400)) {
      throw new HyperscaleError('bad-input', `timeoutSeconds is ${timeoutSeconds}`, {
        hint: 'Give seconds, from 1 to 86400.',
      });
    }
    this.#options = options;
  }

  /**
   * Runs a command with `--json` and returns what it answered.
   * @throws the error that `hscli` reported; `unavailable` when it cannot be run; `timeout`;
   *   `cancelled` when `signal` ended it, once its process is gone
   */
  async ask(args: readonly string[], signal?: AbortSignal): Promise<Fields> {
    const { timeoutSeconds } = this.#options;
    const all = [...args, '--json', '--timeout', String(timeoutSeconds)];
    const { status, stdout, stderr } = await this.#run(all, signal);
    if (status !== 0) throw reported(args, status, stderr);
    return parsed(args, stdout);
  }

  /**
   * Makes a call of the legacy protocol (docs/legacy-protocol.md): one JSON argument, one reply.
   * @returns its payload
   * @throws as `ask`; anything on standard error is a failure
   */
  async callLegacy(call: Record<string, string>, signal?: AbortSignal): Promise<Fields> {
    const { status, stdout, stderr } = await this.#run([JSON.stringify(call)], signal);
    const what = [call.operation ?? ''];
    if (stdout === '' || (status !== 0 && !stdout.startsWith('{'))) {
      throw reported(what, status, stderr);
    }
    const { err_code: code, err_msg: message, payload } = parsed(what, stdout);
    if (code === 0 && stderr === '' && status === 0) return fieldsOf(payload ?? {}, 'the payload');
    const why = typeof message === 'string' && message !== '' ? message : stderr.trim();
    throw new HyperscaleError('unavailable', `hscli ${what.join(' ')} failed: ${why}`, {
      values: { errCode: code, status },
    });
  }

  async #run(args: readonly string[], signal: AbortSignal | undefined): Promise<Ended> {
    if (signal?.aborted) throw cancelled(args);
    const { rootHelper, program: name, timeoutSeconds } = this.#options;
    const [program = name, ...rest] = [...rootHelper, name, ...args];
    for (const argument of args) refuseLong(argument);
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    // A process that a helper made root cannot be killed by others; then its own time limit ends it.
    const end = (): void => {
      if (child.kill('SIGTERM')) setTimeout(() => child.kill('SIGKILL'), graceMs).unref();
    };
    signal?.addEventListener('abort', end, { once: true });
    let late = false;
    const tooLate = (): void => {
      late = true;
      end();
    };
    const timer = setTimeout(tooLate, timeoutSeconds * 1000 + graceMs);
    const stdout = collect(child.stdout, end);
    const stderr = collect(child.stderr, end);
    try {
      const status = await new Promise<number | null>((resolve, reject) => {
        child.once('close', resolve);
        child.on('error', (error: NodeJS.ErrnoException) => {
          // `kill` reports EPERM here as well; the process is still waited for.
          if (error.syscall !== 'kill') reject(notRun(program, rootHelper, error));
        });
      });
      if (status !== 0 && signal?.aborted) throw cancelled(args);
      if (stdout.over || stderr.over) {
        throw new HyperscaleError('internal', `${shown(args)} wrote more than 1 MiB`);
      }
      if (status === null && late) {
        throw new HyperscaleError('timeout', `${shown(args)} did not end in ${timeoutSeconds} s`, {
          hint: 'It may still happen: look with `hscli events`, or wait longer.',
        });
      }
      if (status === null) {
        throw new HyperscaleError('internal', `${shown(args)} was ended by ${child.signalCode}`, {
          hint: 'It may still happen: look with `hscli events`.',
        });
      }
      return { status, stdout: stdout.text().trim(), stderr: stderr.text() };
    } finally {
      signal?.removeEventListener('abort', end);
      clearTimeout(timer);
    }
  }
}

type Ended = { status: number; stdout: string; stderr: string };

type Collected = { over: boolean; text: () => string };

function collect(stream: NodeJS.ReadableStream, tooMuch: () => void): Collected {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const collected = { over: false, text: () => Buffer.concat(pieces).toString('utf8') };
  stream.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= maxOutputBytes) pieces.push(piece);
    else if (!collected.over) {
      collected.over = true;
      tooMuch();
    }
  });
  return collected;
}

function parsed(args: readonly string[], stdout: string): Fields {
  try {
    return fieldsOf(JSON.parse(stdout), 'the answer');
  } catch (error) {
    const start = JSON.stringify(stdout.slice(0, 100));
    throw new HyperscaleError('internal', `${shown(args)} answered ${start}, which is no object`, {
      hint: 'See that hscli is the one of HyperScale, and of the same version.',
      cause: error,
    });
  }
}

/** What `hscli --json` wrote to standard error, perhaps after words of the root helper. */
function reported(args: readonly string[], status: number, stderr: string): HyperscaleError {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  const error = line.startsWith('{"error":') ? errorIn(line) : undefined;
  if (error !== undefined) return error;
  const said = stderr.trim().slice(-500) || `it ended with status ${status}`;
  return new HyperscaleError('internal', `${shown(args)} failed: ${said}`, {
    hint: 'Run the same command by hand as the user of this process.',
    values: { status },
  });
}

function errorIn(line: string): HyperscaleError | undefined {
  try {
    const { code, message, hint, values } = fieldsOf(JSON.parse(line).error, 'the error');
    if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return undefined;
    return new HyperscaleError(code as ErrorCode, String(message), {
      ...(typeof hint === 'string' ? { hint } : {}),
      values: fieldsOf(values ?? {}, 'the values'),
    });
  } catch {
    return undefined; // what it said is then quoted as it is
  }
}

function notRun(
  program: string,
  rootHelper: readonly string[],
  error: NodeJS.ErrnoException,
): HyperscaleError {
  const what = rootHelper.length === 0 ? program : `the root helper ${rootHelper.join(' ')}`;
  return new HyperscaleError('unavailable', `cannot run ${what}: ${error.message}`, {
    hint: 'Install HyperScale on this host, or name the right root helper.',
    values: { program },
    cause: error,
  });
}

function refuseLong(argument: string): void {
  if (Buffer.byteLength(argument) > maxArgumentBytes || argument.includes('\0')) {
    throw new HyperscaleError('bad-input', `${shown([argument])} is no argument for hscli`, {
      hint: `An argument has at most ${maxArgumentBytes} bytes, none of them zero.`,
    });
  }
}

function cancelled(args: readonly string[]): HyperscaleError {
  return new HyperscaleError('cancelled', `${shown(args)} was cancelled`);
}

function shown(args: readonly string[]): string {
  const text = args.join(' ');
  return `hscli ${text.length > 100 ? `${text.slice(0, 100)}…` : text}`;
}
