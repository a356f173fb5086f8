import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { identify } from '../engine/process.ts';
import { errorText, HyperscaleError } from '../errors.ts';

/**
 * Makes sure that one daemon at a time uses a directory: a file with the owner's pid and start
 * time, which an owner that died leaves behind and the next one replaces.
 * @param withRoom runs what needs a little space on the disk.
 * @throws `already-running` naming the pid.
 */
export async function takeLock(
  path: string,
  what: string,
  withRoom: (work: () => Promise<void>) => Promise<void> = (work) => work(),
): Promise<{ release(): Promise<void> }> {
  const mine = `${process.pid} ${identify(process.pid)?.startTime}`;
  const whole = `${path}.${process.pid}`;
  for (;;) {
    try {
      // Linked when it is complete: nobody must see a lock without its owner.
      await withRoom(() => writeFile(whole, mine, { mode: 0o600 }));
      await link(whole, path);
      return { release: () => rm(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new HyperscaleError('internal', `cannot lock ${path}: ${errorText(error)}`, {
          hint: 'Check that the directory exists and is writable.',
          cause: error,
        });
      }
    } finally {
      await rm(whole, { force: true });
    }
    const [pid = '', started = ''] = (await readFile(path, 'utf8').catch(() => '')).split(' ');
    if (started !== '' && identify(Number(pid))?.startTime === started) {
      throw new HyperscaleError('already-running', `${what} is in use by process ${pid}`, {
        hint: `Stop that daemon first, or configure another directory than the one of ${path}.`,
      });
    }
    await rm(path, { force: true });
  }
}
