import { spawn } from 'node:child_process';
import { HyperscaleError } from '../errors.ts';

/** What a program says beyond this many pieces, each 64 KiB at most, tells nothing new. */
const maxComplaints = 16;

/**
 * Runs a program to its end.
 * @returns its standard output.
 * @param signal kills it.
 * @param onOutput gets its standard output while it comes.
 * @throws `engine` with what it said, `no-space` when that was the reason, `cancelled`,
 *   `old-software` when the program is not installed.
 */
export async function runTool(
  program: string,
  args: string[],
  signal?: AbortSignal,
  onOutput?: (text: string) => void,
): Promise<string> {
  const { status, output, said } = await runProgram(program, args, signal, onOutput);
  if (status !== 0) throw failure(program, args, status, said);
  return output;
}

/** How a program ended, and what it said on its two outputs. */
export type Ended = { status: number | null; output: string; said: string };

/**
 * Runs a program to its end, whatever that is.
 * @param onOutput gets its standard output while it comes.
 * @throws `cancelled`
 */
export async function runProgram(
  program: string,
  args: string[],
  signal?: AbortSignal,
  onOutput?: (text: string) => void,
): Promise<Ended> {
  if (signal?.aborted) throw cancelled(program);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  // It ends when this daemon ends, so that nothing writes to a pool that a new daemon cleans.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => {
    output.push(chunk);
    onOutput?.(chunk.toString('latin1'));
  });
  child.stderr.on('data', (chunk: Buffer) => {
    if (errors.length < maxComplaints) errors.push(chunk);
  });
  child.once('error', reject);
  child.once('close', resolve);
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const status = await promise;
    if (status !== 0 && signal?.aborted) throw cancelled(program);
    return {
      status,
      output: Buffer.concat(output).toString('utf8'),
      said: Buffer.concat(errors).toString('utf8').trim(),
    };
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
