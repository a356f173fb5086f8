import { HyperscaleError } from '../errors.ts';
import { type Ended, runProgram } from './run-tool.ts';

/** What a program that reads an untrusted file may use at most. */
export type ToolLimits = {
  /** Seconds by the clock; it is killed then. Also of processor time, for each processor. */
  seconds: number;
  /** Length of files that it writes, bytes; 0: none. */
  fileBytes: number;
};

/** Address space: tables, buffers and the stacks of threads of `qemu-img` need a fraction of it. */
const memoryBytes = 2 * 2 ** 30;

/**
 * Runs `qemu-img` on a file that may have been made to harm: without privileges of root beyond those
 * of the files' owner, and under limits.
 * @returns how it ended; that it failed is no error here.
 * @throws `cancelled`, `bad-input` when a limit ended it.
 */
export async function runQemuImg(
  args: string[],
  limits: ToolLimits,
  signal: AbortSignal,
  onOutput?: (text: string) => void,
): Promise<Ended> {
  const timeout = AbortSignal.timeout(limits.seconds * 1_000);
  const command = [
    ...['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--', 'prlimit'],
    ...[`--as=${memoryBytes}`, `--cpu=${limits.seconds * 2}`, `--fsize=${limits.fileBytes}`],
    ...['--core=0', '--', 'qemu-img', ...args],
  ];
  try {
    const either = AbortSignal.any([signal, timeout]);
    return await runProgram('setpriv', command, either, onOutput);
  } catch (error) {
    if (signal.aborted || !timeout.aborted) throw error;
    throw new HyperscaleError(
      'bad-input',
      `the image is refused: reading it took longer than ${limits.seconds} s`,
      {
        hint: 'No image of that size needs so long; convert it to qcow2 elsewhere if you trust it.',
        values: { seconds: limits.seconds },
        cause: error,
      },
    );
  }
}
