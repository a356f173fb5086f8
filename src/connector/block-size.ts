import { readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorText, HyperscaleError } from '../errors.ts';

/** The unit of `/sys/class/block/NAME/size`, whatever the blocks of the device (proc and sysfs). */
const sectorBytes = 512;

/** The size of a block device, by its path or a link to it. @throws `not-found` */
async function blockDeviceBytes(path: string): Promise<number> {
  try {
    const name = basename(await realpath(path));
    const sectors = await readFile(join('/sys/class/block', name, 'size'), 'utf8');
    return Number(sectors.trim()) * sectorBytes;
  } catch (error) {
    throw new HyperscaleError('not-found', `no block device is at ${path}: ${errorText(error)}`, {
      hint: 'Connect the volume again.',
      values: { path },
      cause: error,
    });
  }
}

/** @throws `not-allowed` when the block device shows less than `sizeBytes` */
export async function refuseSmaller(path: string, sizeBytes: number): Promise<void> {
  const bytes = await blockDeviceBytes(path);
  if (bytes >= sizeBytes) return;
  throw new HyperscaleError(
    'not-allowed',
    `${path} shows ${bytes} bytes, and the volume has ${sizeBytes} now`,
    {
      hint: 'It is told by itself, within a minute. If it is not, disconnect the volume and connect it again.',
      values: { path, bytes, sizeBytes },
    },
  );
}
