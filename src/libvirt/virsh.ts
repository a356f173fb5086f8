/** Running libvirt's own client, `virsh`, one call at a time. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';

/** The first libvirt whose NBD disks can wait for their server (`<reconnect delay>` came with 9.5). */
const oldestLibvirt = 10;

/** Long enough for every call but a migration; one takes about 30 ms. */
const defaultTimeoutMs = 30_000;

export type VirshOptions = {
  /** Ends the call; it then rejects with `cancelled`. libvirt may carry out what it was asked. */
  signal?: AbortSignal;
  /** Rejects with `timeout` after so many milliseconds; 0 waits for ever. */
  timeoutMs?: number;
  /** What virsh reads where an argument names the file `/dev/stdin`. */
  stdin?: string;
};

/**
 * The libvirt behind one URI. Nothing is kept between calls but that its version was checked.
 *
 * ```ts
 * const virsh = new Virsh('qemu:///system');
 * const xml = await virsh.run(['dumpxml', '--domain', 'web1']);
 * ```
 */
export class Virsh {
  readonly uri: string;
  #newEnough: Promise<void> | undefined;

  constructor(uri: string) {
    this.uri = uri;
  }

  /**
   * Runs one virsh command and returns what it printed. A name goes after its option (`--domain
   * NAME`): there it cannot be taken for an option itself.
   *
   * @throws HyperscaleError `libvirt` with virsh's own words; `not-found` when there is no such
   *   domain; `unavailable` when libvirt is not installed or does not answer; `old-software` for a
   *   libvirt before 10; `timeout`; `cancelled`
   */
  async run(args: readonly string[], options: VirshOptions = {}): Promise<string> {
    await this.#checkVersion();
    return this.#call(args, options);
  }

  /** The program and arguments of a virsh that is to be run otherwise, such as `virsh event`. */
  command(args: readonly string[]): string[] {
    // It ends when this daemon ends; libvirt itself goes on.
    return ['setpriv', '--pdeathsig', 'KILL', '--', 'virsh', '--connect', this.uri, ...args];
  }

  /** Checks the version once, and again after it could not be found out. */
  async #checkVersion(): Promise<void> {
    this.#newEnough ??= this.#call(['version', '--daemon'], {}).then(refuseOld);
    try {
      await this.#newEnough;
    } catch (error) {
      this.#newEnough = undefined;
      throw error;
    }
  }

  async #call(args: readonly string[], options: VirshOptions): Promise<string> {
    const { signal, timeoutMs = defaultTimeoutMs, stdin } = options;
    const name = args[0] ?? '';
    if (signal?.aborted) throw cancelled(name);
    const [program = '', ...rest] = this.command(args);
    const input = stdin === undefined ? undefined : openText(stdin);
    const child = spawn(program, rest, {
      env: { ...process.env, LC_ALL: 'C' },
      cwd: '/',
      stdio: [input ?? 'ignore', 'pipe', 'pipe'],
    });
    if (input !== undefined) closeSync(input);
    const kill = () => child.kill('SIGKILL');
    let late = false;
    const timer = setTimeout(
      () => {
        late = true;
        kill();
      },
      timeoutMs === 0 ? 2 ** 31 - 1 : timeoutMs,
    );
    signal?.addEventListener('abort', kill, { once: true });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk));
    try {
      const status = await new Promise<number | null>((resolve, reject) => {
        child.once('close', resolve);
        child.once('error', reject);
      });
      if (status === 0) return Buffer.concat(output).toString('utf8');
      if (late) throw tooLate(name, timeoutMs, this.uri);
      if (signal?.aborted) throw cancelled(name);
      throw failure(args, status, Buffer.concat(errors).toString('utf8'), this.uri);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
    }
  }
}

/**
 * A file with this text that has no name any more; virsh opens it again as `/dev/stdin`, which a
 * socket, Node's usual standard input of a child, does not allow.
 */
function openText(text: string): number {
  const path = join(tmpdir(), `hyperscale-${randomUUID()}`);
  const file = openSync(path, 'wx+', 0o600);
  try {
    writeSync(file, text);
    return file;
  } finally {
    unlinkSync(path);
  }
}

/** True for an error that virsh explained with words like these. */
export function libvirtSaid(error: unknown, words: RegExp): error is HyperscaleError {
  return isHyperscaleError(error, 'libvirt', 'not-found') && words.test(error.message);
}

function cancelled(name: string): HyperscaleError {
  return new HyperscaleError('cancelled', `virsh ${name} was cancelled`);
}

function tooLate(name: string, timeoutMs: number, uri: string): HyperscaleError {
  return new HyperscaleError('timeout', `virsh ${name} did not end within ${timeoutMs} ms`, {
    hint: `See whether libvirt answers: virsh -c '${uri}' list`,
    values: { uri },
  });
}

/** What virsh says, without the word `error` before each of its lines. */
export function virshWords(errors: string): string {
  const lines = errors.split('\n').map((line) => line.replace(/^error:\s*/, '').trim());
  return lines.filter((line) => line !== '').join(': ');
}

function failure(
  args: readonly string[],
  status: number | null,
  errors: string,
  uri: string,
): HyperscaleError {
  const said = virshWords(errors);
  const values = { uri, args, status };
  if (status === 127) {
    return new HyperscaleError('unavailable', 'there is no libvirt on this node (no virsh)', {
      hint: 'Install libvirt 10 or newer: apt-get install libvirt-daemon-system libvirt-clients',
      values,
    });
  }
  if (/failed to connect to the hypervisor|End of file while reading|Disconnected/i.test(said)) {
    return new HyperscaleError('unavailable', `libvirt at ${uri} does not answer: ${said}`, {
      hint: 'Start it (systemctl start libvirtd), or name the right one as libvirt.uri in the configuration.',
      values,
    });
  }
  if (/failed to get domain|Domain not found/.test(said)) {
    return new HyperscaleError('not-found', `libvirt at ${uri}: ${said}`, {
      hint: `List its domains with: virsh -c '${uri}' list --all`,
      values,
    });
  }
  const what = `virsh ${args[0] ?? ''} failed: ${said || `status ${status}`}`;
  return new HyperscaleError('libvirt', what, { values });
}

/** Checks the output of `virsh version --daemon`. @throws `old-software` naming what is too old */
export function refuseOld(versions: string): void {
  const found = [
    ['virsh', /Using library: libvirt (\d+)\.(\d+)\.(\d+)/],
    ['libvirtd', /Running against daemon: (\d+)\.(\d+)\.(\d+)/],
  ] as const;
  for (const [program, pattern] of found) {
    const [, major, minor, patch] = pattern.exec(versions) ?? [];
    if (major !== undefined && Number(major) < oldestLibvirt) {
      const version = `${major}.${minor}.${patch}`;
      throw new HyperscaleError(
        'old-software',
        `${program} is ${version}; libvirt ${oldestLibvirt} or newer is needed`,
        { hint: 'Debian 13 and Ubuntu 24.04 have it; Debian 12 in bookworm-backports.' },
      );
    }
  }
}
