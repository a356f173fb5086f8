/**
 * The FUSE mounts that carry block devices. Nothing here asks the file system itself (no stat, no
 * access): a process that hangs would hang whoever asks.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { errorText, HyperscaleError } from '../errors.ts';
import { hasCode } from './durable.ts';
import { parseMountInfo } from './mount-info.ts';
import { runTool } from './run-tool.ts';

const control = '/sys/fs/fuse/connections';

/**
 * Lets the kernel have one read or write under way at the file at a time. QEMU 10.0 takes the next
 * request into the buffer of a write that is not finished yet (its `block/export/fuse.c` polls while
 * it waits), so with two writes at once one ends up with the data of the other.
 * @throws `engine` when that cannot be made sure
 */
export async function oneRequestAtATime(file: string): Promise<void> {
  const number = mountsOf(file)[0]?.device.split(':')[1];
  try {
    if (number === undefined) throw new Error('it is not mounted');
    if (!mounted().some(({ point }) => point === control)) {
      await runTool('mount', ['-t', 'fusectl', 'fusectl', control]);
    }
    const limit = `${control}/${number}/max_background`;
    writeFileSync(limit, '1');
    const now = readFileSync(limit, 'latin1').trim();
    if (now !== '1') throw new Error(`${limit} is ${now}`);
  } catch (error) {
    throw new HyperscaleError(
      'engine',
      `cannot limit the requests at ${file}: ${errorText(error)}`,
      { hint: `A block device needs the file system fusectl at ${control}.`, cause: error },
    );
  }
}

/** Takes the file's mounts away, also while somebody has it open; none is fine. */
export async function unmount(file: string): Promise<void> {
  for (let left = mountsOf(file).length; left > 0; left -= 1) {
    await runTool('umount', ['--lazy', '--no-canonicalize', file]).catch((error: unknown) => {
      // Somebody else may have been faster.
      if (mountsOf(file).length >= left) throw error;
    });
  }
}

function mountsOf(file: string) {
  return mounted().filter(({ point }) => point === file);
}

function mounted() {
  try {
    return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}
