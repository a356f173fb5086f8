/** Loop devices over the files of block devices (`libexec/loop-device`). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
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

/**
 * Makes a loop device over a file, with direct I/O: what another host writes must be seen here.
 * @param cookie by which `removeLoop` knows it again, beside the file.
 * @throws `engine`
 */
export async function addLoop(file: string, cookie: string): Promise<string> {
  const path = (await runTool(program, ['add', file, cookie])).trim();
  // Who had the number before may have told the kernel to send no flushes; that stays.
  writeFileSync(join(devices, basename(path), 'queue/write_cache'), 'write back');
  if (attribute(path, 'loop/dio') === '1') return path;
  await removeLoop({ path, file }, cookie, true);
  throw new HyperscaleError('engine', `the kernel gives ${path} no direct I/O`, {
    hint: 'A block device needs it: without, this host would not see what another one writes.',
  });
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
