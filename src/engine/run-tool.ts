import { spawn } from 'node:child_process';
import { HyperscaleError } from '../errors.ts';

/**
 * Runs a program to its end.
 * @returns its standard output.
 * @param signal kills it.
 * @throws `engine` with what it said, `no-space` when that was the reason, `cancelled`,
 *   `old-software` when the program is not installed.
 */
export async function runTool(
  program: string,
  args: string[],
  signal?: AbortSignal,
): Promise<string> {
  if (signal?.aborted) throw cancelled(program);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  // It ends when this daemon ends, so that nothing writes to a pool that a new daemon cleans.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  child.once('error', reject);
  child.once('close', resolve);
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const status = await promise;
    if (status !== 0 && signal?.aborted) throw cancelled(program);
    const said = Buffer.concat(errors).toString('utf8').trim();
    if (status !== 0) throw failure(program, args, status, said);
    return Buffer.concat(output).toString('utf8');
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

function cancelled(program: string): HyperscaleError {
  return new HyperscaleError('cancelled', `${program} was cancelled`);
}

function failure(program: string, args: string[], status: number | null, said: string) {
  if (status === 127) {
    return new HyperscaleError('old-software', `${program} cannot be run: ${said}`, {
      hint: 'Install the packages qemu-utils and qemu-system-x86 (or qemu-storage-daemon).',
    });
  }
  const values = { program, args, status };
  return /No space left on device|Disk quota exceeded/.test(said)
    ? new HyperscaleError('no-space', `the pool is full: ${said}`, { values })
    : new HyperscaleError('engine', `${program} failed: ${said || `status ${status}`}`, { values });
}
