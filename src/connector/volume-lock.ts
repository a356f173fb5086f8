import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, HyperscaleError } from '../errors.ts';

/**
 * Runs `work` while no other process of this host, and nothing else in this one, works on the same
 * volume under the same directory. The lock is the kernel's (flock(2)) and held by a `flock` of
 * util-linux that ends with its input, so that it goes with this process, however that ends; the
 * empty file that stays behind locks nothing.
 * @throws `cancelled` when `signal` aborts while it waits; `unavailable` when there can be no lock
 */
export async function withVolumeLock<T>(
  directory: string,
  volume: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const release = await takeLock(directory, volume, signal);
  try {
    return await work();
  } finally {
    await release();
  }
}

async function takeLock(
  directory: string,
  volume: string,
  signal: AbortSignal | undefined,
): Promise<() => Promise<void>> {
  if (signal?.aborted) throw cancelled(volume);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw noLock(volume, directory, errorText(error));
  }
  const file = join(directory, `${encodeURIComponent(volume)}.lock`);
  const held = ['sh', '-c', 'echo locked; exec cat >/dev/null'];
  const child = spawn('flock', ['--exclusive', '--no-fork', file, ...held], { cwd: '/' });
  const ended = once(child, 'close').catch(() => undefined); // `error` is seen below
  const said: Buffer[] = [];
  child.stderr.on('data', (piece: Buffer) => said.push(piece));
  child.stdin.on('error', () => undefined); // it is gone already
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('error', reject);
      child.once('close', () => reject(new Error(Buffer.concat(said).toString('utf8').trim())));
    });
  } catch (error) {
    if (signal?.aborted) throw cancelled(volume);
    throw noLock(volume, directory, errorText(error));
  } finally {
    signal?.removeEventListener('abort', kill);
  }
  return async () => {
    child.stdin.end();
    await ended;
  };
}

function cancelled(volume: string): HyperscaleError {
  return new HyperscaleError('cancelled', `waiting for volume ${volume} was cancelled`);
}

function noLock(volume: string, directory: string, why: string): HyperscaleError {
  return new HyperscaleError(
    'unavailable',
    `cannot lock volume ${volume} in ${directory}: ${why}`,
    {
      hint: 'Name a lock directory that this user may write to, the same for all on this host.',
      values: { volume, directory },
    },
  );
}
