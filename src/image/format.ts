import { HyperscaleError } from '../errors.ts';
import type { FileBytes } from './file-bytes.ts';
import { refuseImage } from './refuse.ts';

/** Formats that are taken, by the names that QEMU has for them; `vpc` is VHD. */
export const imageFormats = ['raw', 'qcow2', 'vmdk', 'vpc', 'vhdx'] as const;
export type ImageFormat = (typeof imageFormats)[number];

/** What begins with these bytes is an image of that format. */
const magics: readonly { bytes: Buffer; format: ImageFormat }[] = [
  { bytes: Buffer.from('QFI\xfb', 'latin1'), format: 'qcow2' },
  { bytes: Buffer.from('KDMV'), format: 'vmdk' },
  { bytes: Buffer.from('COWD'), format: 'vmdk' },
  { bytes: Buffer.from('# Disk DescriptorFile'), format: 'vmdk' },
  { bytes: Buffer.from('conectix'), format: 'vpc' },
  { bytes: Buffer.from('vhdxfile'), format: 'vhdx' },
];

/** What begins with these bytes is something else than the content of a disk. */
const others: readonly { bytes: Buffer; name: string; hint: string }[] = [
  compressed('1f8b', 'gzip', 'gunzip'),
  compressed('fd377a585a00', 'xz', 'unxz'),
  compressed('28b52ffd', 'zstd', 'unzstd'),
  compressed('425a68', 'bzip2', 'bunzip2'),
  compressed('504b0304', 'zip', 'unzip'),
  other('LUKS\xba\xbe', 'an encrypted LUKS container'),
  other('QED\0', 'a QED image'),
  other('WithoutFreeSpace', 'a Parallels image'),
  other('WithouFreSpacExt', 'a Parallels image'),
  other('<<< ', 'a VirtualBox (VDI) image'),
];

/** In the last sector of a VHD; one of fixed size has it nowhere else. */
export const vhdMagic = 'conectix';
export const vhdFooterBytes = 512;
/** An archive of tar, as an OVA is, says so here. */
const tarMagic = { offset: 257, text: 'ustar' };

/** The format that a person named. @throws `bad-input` for one that is not taken */
export function imageFormatNamed(name: string): ImageFormat {
  const wanted = name.toLowerCase() === 'vhd' ? 'vpc' : name.toLowerCase();
  const found = imageFormats.find((format) => format === wanted);
  if (found !== undefined) return found;
  throw new HyperscaleError('bad-input', `images of format ${JSON.stringify(name)} are not taken`, {
    hint: 'Formats are raw, qcow2, vmdk, vhd (vpc) and vhdx.',
  });
}

/**
 * The format that a file says it has. A file that looks like something is never taken for raw, and
 * one is never taken for what it does not look like: whoever could write to a raw disk must not
 * decide what is read in its place.
 * @throws `bad-input` for what is no image of a disk.
 */
export async function formatOf(file: FileBytes): Promise<ImageFormat> {
  const head = await file.read(0, 512);
  const found = magics.find(({ bytes }) => startsWith(head, bytes));
  if (found !== undefined) return found.format;
  const foot = await file.read(Math.max(0, file.size - vhdFooterBytes), vhdFooterBytes);
  if (startsWith(foot, Buffer.from(vhdMagic))) return 'vpc';
  const strange = others.find(({ bytes }) => startsWith(head, bytes));
  if (strange !== undefined) refuseImage(`it is ${strange.name}`, strange.hint);
  const { offset, text } = tarMagic;
  if (head.toString('latin1', offset, offset + text.length) === text) {
    refuseImage('it is an archive (tar, OVA)', 'Unpack it and import the disk that is in it.');
  }
  return 'raw';
}

function startsWith(content: Buffer, bytes: Buffer): boolean {
  return content.subarray(0, bytes.length).equals(bytes);
}

function compressed(hex: string, name: string, program: string) {
  return {
    bytes: Buffer.from(hex, 'hex'),
    name: `compressed with ${name}`,
    hint: `Decompress it (${program}); if it is a disk that begins so, say --format raw.`,
  };
}

function other(magic: string, name: string) {
  return {
    bytes: Buffer.from(magic, 'latin1'),
    name,
    hint: 'Convert it (qemu-img convert -O qcow2); if it is a disk that begins so, say --format raw.',
  };
}
