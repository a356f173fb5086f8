import { open, readFile, rm } from 'node:fs/promises';
import { errorText, HyperscaleError } from '../errors.ts';

/**
 * Makes sure that one daemon at a time uses a directory: a file with the owner's pid and start
 * time, which an owner that died leaves behind and the next one replaces.
 * @throws `already-running` naming the pid.
 */
export async function takeLock(path: string, what: string): Promise<{ release(): Promise<void> }> {
  const mine = `${process.pid} ${await startTime(process.pid)}`;
  for (;;) {
    try {
      const file = await open(path, 'wx', 0o600);
      await file.writeFile(mine);
      await file.close();
      return { release: () => rm(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new HyperscaleError('internal', `cannot lock ${path}: ${errorText(error)}`, {
          hint: 'Check that the directory exists and is writable.',
          cause: error,
        });
      }
    }
    const [pid = '', started = ''] = (await readFile(path, 'utf8').catch(() => '')).split(' ');
    if (started !== '' && (await startTime(Number(pid))) === started) {
      throw new HyperscaleError('already-running', `${what} is in use by process ${pid}`, {
        hint: `Stop that daemon first, or configure another directory than the one of ${path}.`,
      });
    }
    await rm(path, { force: true });
  }
}

/** Start time of a process in clock ticks since boot (proc(5), stat field 22); '' when it is gone. */
async function startTime(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
