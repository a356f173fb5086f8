import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { metadataPrefix } from '../api/list-filter.ts';
import type { ViewAnswer } from '../api/routes/views.ts';
import type { EndpointAnswer, VolumeAnswer } from '../api/schemas.ts';
import { runTool } from '../engine/run-tool.ts';
import { HyperscaleError } from '../errors.ts';
import { exportToFile } from '../image/export.ts';
import { namePattern } from '../volume/names.ts';
import type { Call } from './call.ts';
import { volumePath } from './daemon.ts';
import { badParameter } from './err-codes.ts';
import { textField } from './fields.ts';
import { volumeNameOf } from './names.ts';

/**
 * A volume of an image: the driver asks for a path, writes the raw image there unless there is a
 * file, and says that it is the content of a volume.
 */

const defaultDirectory = '/var/lib/hyperscale/images';
/** What a volume's metadata have the image under that it holds. */
const imageKey = 'hs_image_id';
/** A file that nobody took by then is of a call that was cut off, or was read by a driver. */
const leftAfterMs = 24 * 3_600_000;

/**
 * A path where no file is. It is another one each time: a file that a killed driver left unfinished
 * is never taken for an image, and two volumes of one image do not write into one file.
 */
export async function getImagePath({ body }: Call): Promise<unknown> {
  return freePath(imageIdOf(textField(body, 'image_id')));
}

/** Copies the raw image into the volume, which nobody may use meanwhile, and removes the file. */
export async function updateImage({ daemon, body }: Call): Promise<unknown> {
  const name = volumeNameOf(textField(body, 'volume_id'));
  const image = imageIdOf(textField(body, 'hs_image_id'));
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
  // So that it is found by what the driver calls its content.
  const metadata = { [imageKey]: image };
  await daemon.ask('PATCH', path, { metadata });
  await rm(file);
  return {};
}

/**
 * A new file with what a volume holds now, as a raw image: the driver reads it and never says when it
 * is done, so a copy is what may be left to it for a day.
 */
export async function getVolumePath({ daemon, body }: Call): Promise<unknown> {
  const image = imageIdOf(textField(body, 'image_id'));
  const query = new URLSearchParams({ [`${metadataPrefix}${imageKey}`]: image, limit: '1' });
  const path = `/v1/volumes?${query}`;
  const { volumes } = await daemon.ask<{ volumes: VolumeAnswer[] }>('GET', path);
  const [volume] = volumes;
  if (volume === undefined) {
    throw new HyperscaleError('not-found', `no volume holds the image ${image}`, {
      hint: 'It is the hs_image_id that update_image was called with.',
      values: { imageId: image },
    });
  }
  const file = await freePath(image);
  const views = `/v1/volumes/${volume.id}/views`;
  // When this process is killed, the daemon takes the view away.
  const view = await daemon.ask<ViewAnswer>('POST', views, {});
  try {
    const { socket, session } = view.endpoint;
    const { signal } = new AbortController();
    await exportToFile({ socket, session }, { path: file, format: 'raw' }, signal, () => undefined);
  } finally {
    await daemon.ask('DELETE', `${views}/${view.id}`);
  }
  return file;
}

/** @throws `bad-input` when it could not be part of a file's name */
function imageIdOf(given: string): string {
  const image = given.replace(/^\{(.*)\}$/, '$1');
  if (image.length > 64 || !new RegExp(namePattern).test(image)) {
    throw wrongPath(`image id ${JSON.stringify(image.slice(0, 80))} is no id`);
  }
  return image;
}

/** A path in our directory where no file is. */
async function freePath(image: string): Promise<string> {
  const directory = imageDirectory();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeLeftovers(directory);
  return join(directory, `${image}-${randomUUID()}.raw`);
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
