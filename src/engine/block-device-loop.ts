/** Loop devices over the files of block devices (`libexec/loop-device`). */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { HyperscaleError } from '../errors.ts';
import { runTool } from './run-tool.ts';

const program = fileURLToPath(new URL('../../libexec/loop-device', import.meta.url));
const devices = '/sys/block';

export type LoopDevice = {
  /** `/dev/loopN` */
  path: string;
  /** The file below it. */
  file: string;
};

/** A program that will make a loop device: it gets ready while the device's file does. */
export class LoopStart {
  readonly #file: string;
  readonly #cookie: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answer: Promise<string>;

  /** @param cookie by which `removeLoop` knows it again, beside the file. */
  constructor(file: string, cookie: string) {
    this.#file = file;
    this.#cookie = cookie;
    // When this daemon ends, so does its standard input, and with it the wait.
    this.#child = spawn(program, ['add', file, cookie], { cwd: '/' });
    this.#child.stdin.on('error', () => undefined); // seen by its end
    this.#answer = answerOf(this.#child);
    this.#answer.catch(() => undefined); // waited for by `add`
  }

  /** Makes it, with direct I/O: what another host writes must be seen here. @throws `engine` */
  async add(): Promise<string> {
    this.#child.stdin.end('now\n');
    const path = await this.#answer;
    sendFlushes(path);
    if (attribute(path, 'loop/dio') === '1') return path;
    await removeLoop({ path, file: this.#file }, this.#cookie, true);
    throw new HyperscaleError('engine', `the kernel gives ${path} no direct I/O`, {
      hint: 'A block device needs it: without, this host would not see what another one writes.',
    });
  }

  /** Ends it; without `add` it has made nothing. */
  cancel(): void {
    this.#child.stdin.destroy();
  }
}

/**
 * Who had the device's number before may have told the kernel to send it no flushes; that stays. To
 * say what is true already would empty its queue, which takes the kernel 15 ms.
 */
function sendFlushes(path: string): void {
  const name = 'queue/write_cache';
  if (attribute(path, name) === 'write back') return;
  writeFileSync(join(devices, basename(path), name), 'write back');
}

/** What a program printed when it has ended well. @throws `engine` with its complaint */
async function answerOf(child: ChildProcessWithoutNullStreams): Promise<string> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  const outputs = [child.stdout, child.stderr].map((stream) => textOf(stream));
  const [status, said = '', complaint = ''] = await Promise.all([ended, ...outputs]);
  if (status === 0) return said.trim();
  throw new HyperscaleError('engine', `no loop device is made: ${complaint.trim() || status}`);
}

/**
 * Takes a loop device away if it is still over that file and has the cookie.
 * @param force also while somebody has it open: then Linux frees it when that one closes it.
 * @returns false when it is open and, without `force`, was left as it is.
 */
export async function removeLoop(
  { path, file }: LoopDevice,
  cookie: string,
  force: boolean,
): Promise<boolean> {
  const args = ['remove', path, file, cookie, ...(force ? ['force'] : [])];
  return (await runTool(program, args)).trim() === 'gone';
}

/** Lets a loop device have the size that its file has by now. @throws `engine` */
export async function resizeLoop(
  { path, file }: LoopDevice,
  cookie: string,
  sizeBytes: number,
): Promise<void> {
  await runTool(program, ['resize', path, file, cookie, String(sizeBytes)]);
}

/** The loop devices whose files the path function accepts; asks only the kernel, no file system. */
export function findLoops(isOurs: (file: string) => boolean): LoopDevice[] {
  return readdirSync(devices)
    .filter((name) => /^loop\d+$/.test(name))
    .flatMap((name) => {
      const path = `/dev/${name}`;
      const file = attribute(path, 'loop/backing_file');
      return file !== undefined && isOurs(file) ? [{ path, file }] : [];
    });
}

/** An attribute of a block device that the kernel shows; undefined when there is none. */
export function attribute(device: string, name: string): string | undefined {
  const directory = join(devices, basename(device));
  try {
    return readFileSync(join(directory, name), 'utf8').replace(/\n$/, '');
  } catch {
    return undefined;
  }
}
