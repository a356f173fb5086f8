import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { EndpointAnswer, VolumeAnswer } from '../api/schemas.ts';
import { runTool } from '../engine/run-tool.ts';
import { HyperscaleError } from '../errors.ts';
import { namePattern } from '../volume/names.ts';
import type { Call } from './call.ts';
import { notSupported, volumePath } from './daemon.ts';
import { badParameter } from './err-codes.ts';
import { textField } from './fields.ts';
import { volumeNameOf } from './names.ts';

/**
 * A volume of an image: the driver asks for a path, writes the raw image there unless there is a
 * file, and says that it is the content of a volume.
 */

const defaultDirectory = '/var/lib/hyperscale/images';
/** A file that nobody took by then is of a call that was cut off. */
const leftAfterMs = 24 * 3_600_000;

/**
 * A path where no file is. It is another one each time: a file that a killed driver left unfinished
 * is never taken for an image, and two volumes of one image do not write into one file.
 */
export async function getImagePath({ body }: Call): Promise<unknown> {
  const image = textField(body, 'image_id').replace(/^\{(.*)\}$/, '$1');
  if (image.length > 64 || !new RegExp(namePattern).test(image)) {
    throw wrongPath(`image_id ${JSON.stringify(image.slice(0, 80))} is no id`);
  }
  const directory = imageDirectory();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeLeftovers(directory);
  return join(directory, `${image}-${randomUUID()}.raw`);
}

/** Copies the raw image into the volume, which nobody may use meanwhile, and removes the file. */
export async function updateImage({ daemon, body }: Call): Promise<unknown> {
  const name = volumeNameOf(textField(body, 'volume_id'));
  const file = await checkedFile(textField(body, 'image_path'));
  const path = volumePath(name);
  const volume = await daemon.askOfKnown<VolumeAnswer>('GET', path);
  const [user] = volume.attachments;
  if (user !== undefined) {
    throw new HyperscaleError('in-use', `volume ${name} is attached on ${user.host}`, {
      hint: 'An image is written only into a volume that nobody uses: detach it first.',
    });
  }
  const { size } = await stat(file);
  if (size > volume.sizeBytes) {
    throw wrongPath(`the image has ${size} bytes, and volume ${name} only ${volume.sizeBytes}`);
  }
  const endpoint = await daemon.ask<EndpointAnswer>('POST', `${path}/attachments`, {});
  try {
    // Zeros too, and with a flush at the end. It dies with this process.
    await runTool('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', file, endpoint.uri]);
  } finally {
    await daemon.ask('DELETE', `${path}/attachments/${endpoint.host}`);
  }
  await rm(file);
  return {};
}

/**
 * Refused: the driver would read from the path and never say when it is done, so that the volume
 * would stay attached for ever.
 */
export async function getVolumePath(_call: Call): Promise<unknown> {
  throw notSupported(
    'to make an image of a volume',
    'Attach the volume and read it there: hscli volume attach, then qemu-img convert.',
  );
}

function imageDirectory(): string {
  return process.env.HYPERSCALE_IMAGES ?? defaultDirectory;
}

/** A file that lies in our directory itself: drivers run as root what others tell them. */
async function checkedFile(path: string): Promise<string> {
  const found = await lstat(path).catch(() => null);
  if (found === null) throw wrongPath(`there is no file ${JSON.stringify(path)}`);
  const directory = await realpath(imageDirectory()).catch(() => null);
  if (!found.isFile() || directory === null || (await realpath(dirname(path))) !== directory) {
    throw wrongPath(`${JSON.stringify(path)} is no image file of ${imageDirectory()}`);
  }
  return join(directory, basename(path));
}

async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const found = await lstat(path).catch(() => null);
    if (found?.isFile() && Date.now() - found.mtimeMs > leftAfterMs)
      await rm(path, { force: true });
  }
}

function wrongPath(message: string): HyperscaleError {
  return new HyperscaleError('bad-input', message, {
    hint: 'Ask for a path with get_image_path, and write the raw image there.',
    values: { errCode: badParameter },
  });
}
