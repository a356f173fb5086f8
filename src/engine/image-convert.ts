import { open } from 'node:fs/promises';
import { HyperscaleError } from '../errors.ts';
import { layerOptions } from './containers.ts';
import { type ImageSource, imageNode } from './image-source.ts';
import { runQemuImg, type ToolLimits } from './image-tool.ts';
import { containerBytes } from './layer-files.ts';
import { runTool } from './run-tool.ts';

export type ImageWork = {
  source: ImageSource;
  /** The file to make; of no use when this fails. */
  target: string;
  /** Of the layer, in bytes: at least what the image shows. */
  sizeBytes: number;
  signal: AbortSignal;
  /** Told the part that is done, 0 to 1. */
  progress?: (part: number) => void;
};

const gib = 2 ** 30;
/**
 * Time for an image, in seconds: a slow disk reads its file ten times as fast, and a processor
 * unpacks zeros, of which a small file may hold many, twice as fast.
 */
const seconds = { atLeast: 120, perFileGib: 120, perVirtualGib: 0.5, atMost: 2_000_000 };

/**
 * Makes the container of a sealed layer that shows what an image shows. Zeros take no space, and
 * tables are made only where there is data, since nobody ever writes to it. On stable storage.
 * @throws `no-space`, `cancelled`, `bad-input` when the image cannot be read to its end.
 */
export async function convertImage(work: ImageWork): Promise<void> {
  const { source, target, sizeBytes, signal, progress } = work;
  const create = ['create', '-q', '-f', 'qcow2', '-o', layerOptions, target, String(sizeBytes)];
  await runTool('qemu-img', create, signal);
  const args = [
    ...['convert', '-p', '-n', '--target-is-zero', '-S', '4k', '-W'],
    ...paceOf(source),
    ...['-t', 'writeback', '-O', 'qcow2', imageNode(source), target],
  ];
  const { status, said } = await runQemuImg(args, await limitsFor(work), signal, (text) => {
    const part = /\((\d+\.\d+)\/100%\)/.exec(text)?.[1];
    if (part !== undefined) progress?.(Number(part) / 100);
  });
  if (status !== 0) throw convertError(said, status);
  await finish(target, sizeBytes);
}

function paceOf(source: ImageSource): string[] {
  const rate = source.format === 'nbd' ? (source.bytesPerSecond ?? 0) : 0;
  return rate === 0 ? [] : ['-r', String(rate)];
}

/** Gives it the length of a container and puts it on stable storage. */
async function finish(target: string, sizeBytes: number): Promise<void> {
  const file = await open(target, 'r+');
  try {
    const { size } = await file.stat();
    await file.truncate(Math.max(size, containerBytes(sizeBytes)));
    await file.sync();
  } finally {
    await file.close();
  }
}

async function limitsFor({ source, sizeBytes }: ImageWork): Promise<ToolLimits> {
  // Whoever serves it bounds what a read may take.
  if (source.format === 'nbd')
    return { seconds: seconds.atMost, fileBytes: containerBytes(sizeBytes) };
  const file = await open(source.path, 'r');
  const { size } = await file.stat();
  await file.close();
  const { atLeast, perFileGib, perVirtualGib, atMost } = seconds;
  const most = atLeast + (size / gib) * perFileGib + (sizeBytes / gib) * perVirtualGib;
  return { seconds: Math.ceil(Math.min(most, atMost)), fileBytes: containerBytes(sizeBytes) };
}

function convertError(said: string, status: number | null): HyperscaleError {
  const [reason = ''] = said.split('\n');
  if (/No space left on device|Disk quota exceeded/.test(said)) {
    return new HyperscaleError('no-space', `there is no space for the image: ${reason}`, {
      hint: 'Free space in the pool, or import on another node.',
    });
  }
  return new HyperscaleError(
    'bad-input',
    `the image is refused: it cannot be read to its end: ${reason || `qemu-img ended with status ${status}`}`,
    { hint: 'Copy or download it again, and give its --checksum.', values: { status } },
  );
}
