import type { FileBytes } from './file-bytes.ts';
import { vhdFooterBytes, vhdMagic } from './format.ts';
import { copyAgain, refuseImage } from './refuse.ts';

/** Kinds of VHD, from "Virtual Hard Disk Image Format Specification" of Microsoft. */
const fixed = 2;
const dynamic = 3;
const differencing = 4;

/**
 * Refuses a VHD that is the difference to another one, or lacks its end.
 * @throws `bad-input`
 */
export async function checkVhd(file: FileBytes): Promise<void> {
  const footer = await file.read(Math.max(0, file.size - vhdFooterBytes), vhdFooterBytes);
  const isVhd = (bytes: Buffer) => bytes.toString('latin1', 0, vhdMagic.length) === vhdMagic;
  if (footer.length < vhdFooterBytes || !isVhd(footer)) {
    if (isVhd(await file.read(0, vhdFooterBytes))) {
      // QEMU would go by the copy at the begin, and show zeros for what is missing.
      refuseImage('the file ends before its footer', copyAgain);
    }
    refuseImage('it is not VHD', 'Say what it is with --format, or leave --format out.');
  }
  const kind = footer.readUInt32BE(60);
  if (kind === differencing) {
    refuseImage(
      'it is the difference to a parent',
      'Make it complete where the parent is trusted: qemu-img convert -O vpc.',
    );
  }
  if (kind !== fixed && kind !== dynamic) {
    refuseImage(`it is VHD of the unknown kind ${kind}`, 'Convert it: qemu-img convert -O qcow2.');
  }
}

/** Whether it is VHDX; the rest of it QEMU checks well, and it takes none with a parent. */
export async function checkVhdx(file: FileBytes): Promise<void> {
  if ((await file.read(0, 8)).toString('latin1') !== 'vhdxfile') {
    refuseImage('it is not VHDX', 'Say what it is with --format, or leave --format out.');
  }
}
