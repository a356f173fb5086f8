import { type ImageFile, imageNode } from '../engine/image-source.ts';
import { runQemuImg, type ToolLimits } from '../engine/image-tool.ts';
import { maxSizeBytes, minSizeBytes, sizeGrainBytes } from '../volume/names.ts';
import { FileBytes } from './file-bytes.ts';
import { formatOf, type ImageFormat } from './format.ts';
import { checkQcow2 } from './qcow2.ts';
import { copyAgain, refuseImage } from './refuse.ts';
import { checkVhd, checkVhdx } from './vhd.ts';
import { checkVmdk } from './vmdk.ts';

/** What an untrusted file turned out to be. */
export type ProbedImage = ImageFile & {
  /** What a machine would see of it, bytes. */
  virtualBytes: number;
  /** The same, or a little more, as a volume may have it. */
  sizeBytes: number;
  /** Internal snapshots, which are not imported. */
  snapshots: string[];
};

/** QEMU's look at a header takes milliseconds; a check reads every table. */
const infoLimits: ToolLimits = { seconds: 20, fileBytes: 0 };
const checkLimits: ToolLimits = { seconds: 300, fileBytes: 0 };

/** What `qemu-img info` says, as far as it matters here. */
type Info = {
  'virtual-size': number;
  encrypted?: boolean;
  'backing-filename'?: string;
  snapshots?: { name: string; 'vm-state-size': number }[];
  children?: { info: { filename: string } }[];
};

/**
 * Finds out what a file is that may have been made to harm. It is never opened with a format that was
 * guessed by QEMU, and nothing that it names is opened: our own look at its header comes first.
 * @param wanted.format what the file is said to be; null: our own look decides.
 * @param wanted.maxSizeBytes the largest virtual size that is taken.
 * @throws `bad-input` that says why it is refused, `cancelled`
 */
export async function probeImage(
  path: string,
  wanted: { format: ImageFormat | null; maxSizeBytes?: number },
  signal: AbortSignal,
): Promise<ProbedImage> {
  const most = Math.min(wanted.maxSizeBytes ?? maxSizeBytes, maxSizeBytes);
  const format = await checkedFormat(path, wanted.format, most);
  const source = { path, format };
  const info = await infoOf(source, signal);
  const snapshots = checkInfo(info, path);
  const virtualBytes = info['virtual-size'];
  checkSize(virtualBytes, most);
  if (format === 'qcow2' || format === 'vmdk') await checkTables(source, signal);
  return { ...source, virtualBytes, sizeBytes: volumeBytes(virtualBytes), snapshots };
}

/** The smallest valid size of a volume that holds so many bytes. */
export function volumeBytes(bytes: number): number {
  return Math.max(minSizeBytes, Math.ceil(bytes / sizeGrainBytes) * sizeGrainBytes);
}

async function checkedFormat(
  path: string,
  wanted: ImageFormat | null,
  most: number,
): Promise<ImageFormat> {
  const file = await FileBytes.open(path);
  try {
    if (file.size === 0) refuseImage('it is empty', copyAgain);
    const format = wanted ?? (await formatOf(file));
    if (format === 'raw') checkSize(file.size, most);
    if (format === 'qcow2') checkSize(await checkQcow2(file), most);
    if (format === 'vmdk') checkSize(await checkVmdk(file), most);
    if (format === 'vpc') await checkVhd(file);
    if (format === 'vhdx') await checkVhdx(file);
    return format;
  } finally {
    await file.close();
  }
}

function checkSize(bytes: number, most: number): void {
  if (bytes <= 0) refuseImage('it has no size', copyAgain);
  if (bytes <= most) return;
  refuseImage(
    `it shows ${bytes} bytes, and ${most} is the most`,
    most === maxSizeBytes ? 'No volume may be larger.' : 'Allow more with --max-size.',
  );
}

async function infoOf(source: ImageFile, signal: AbortSignal): Promise<Info> {
  const args = ['info', '--output=json', imageNode(source)];
  const { status, output, said } = await runQemuImg(args, infoLimits, signal);
  if (status === 0) return JSON.parse(output) as Info;
  refuseImage(
    `QEMU cannot read it as ${source.format}: ${shortened(said) || `status ${status}`}`,
    `${copyAgain} If it is of another format, say so with --format.`,
  );
}

/** What our own look would have refused as well, if it saw what QEMU sees. */
function checkInfo(info: Info, path: string): string[] {
  const others = (info.children ?? []).filter((child) => child.info.filename !== path);
  if (info['backing-filename'] !== undefined || others.length > 0) {
    refuseImage('it needs other files', 'Make it one complete file: qemu-img convert -O qcow2.');
  }
  if (info.encrypted === true) {
    refuseImage('it is encrypted', 'Decrypt it where its key is: qemu-img convert.');
  }
  const running = info.snapshots?.find((s) => s['vm-state-size'] > 0);
  if (running !== undefined) {
    refuseImage(
      `its internal snapshot ${JSON.stringify(running.name)} holds the memory of a running machine`,
      'That cannot be imported; qemu-img convert makes a file without it.',
    );
  }
  return (info.snapshots ?? []).map((s) => s.name);
}

/** Reads all tables, so that a file that was cut or garbled is found before it becomes a disk. */
async function checkTables(source: ImageFile, signal: AbortSignal): Promise<void> {
  const args = ['check', '--output=json', imageNode(source)];
  const { status, said } = await runQemuImg(args, checkLimits, signal);
  // 3: clusters that nothing refers to, which do no harm.
  if (status === 0 || status === 3) return;
  const [first = ''] = said.split('\n');
  refuseImage(
    `its tables are damaged: ${shortened(first) || `qemu-img check ends with status ${status}`}`,
    `${copyAgain} What can be repaired, qemu-img check -r all repairs.`,
  );
}

/** The last line is the reason; the ones before repeat themselves. */
function shortened(said: string): string {
  const line = said.split('\n').at(-1) ?? '';
  const reason = line.replace(/^qemu-img: (Could not open '.*?': )*/, '');
  return reason.length > 300 ? `${reason.slice(0, 300)}…` : reason;
}
