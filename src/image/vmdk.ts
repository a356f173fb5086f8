import type { FileBytes } from './file-bytes.ts';
import { copyAgain, refuseImage } from './refuse.ts';

/**
 * What a VMDK file says of itself, before QEMU sees it: a header, and in it a text that may name
 * other files. Numbers are little endian. Source: "Virtual Disk Format 5.0" of VMware.
 */
const sectorBytes = 512;
/** QEMU reads so much of a text; ours must show us no less of it. */
const textBytes = 20 * sectorBytes;
/** Where QEMU looks for the name of a parent, whatever the header says. */
const usualText = sectorBytes;
const kinds = ['monolithicSparse', 'streamOptimized'];
const convert =
  'Make it one file where its parts are trusted: qemu-img convert -O vmdk -o subformat=streamOptimized.';

/**
 * Refuses a VMDK that is not one file complete in itself.
 * @returns its virtual size in bytes.
 * @throws `bad-input`
 */
export async function checkVmdk(file: FileBytes): Promise<number> {
  const head = await file.read(0, sectorBytes);
  const magic = head.toString('latin1', 0, 4);
  if (magic === '# Di') refuseImage('it only describes a disk that is in other files', convert);
  if (magic === 'COWD') refuseImage('it is an extent of an ESX server', convert);
  if (magic !== 'KDMV') {
    refuseImage('it is not VMDK', 'Say what it is with --format, or leave --format out.');
  }
  if (head.length < sectorBytes) refuseImage('the file ends before its header', copyAgain);
  const sectors = head.readBigUInt64LE(12);
  // Without a size of its own QEMU would take the text at its word, and open what it names.
  if (sectors === 0n) refuseImage('its header has no size', convert);
  const offset = Number(head.readBigUInt64LE(28)) * sectorBytes;
  if (offset === 0) refuseImage('it has no description, so it is a part of a disk', convert);
  checkText(textIn(await file.read(offset, textBytes)), true);
  if (offset !== usualText) checkText(textIn(await file.read(usualText, textBytes)), false);
  return Number(sectors) * sectorBytes;
}

/** The text ends with the first zero, as for QEMU. */
function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
}

function checkText(text: string, complete: boolean): void {
  if (text.includes('parentFileNameHint')) {
    refuseImage('it has a parent, and would show what that holds', convert);
  }
  if (!complete) return;
  const parent = entryOf(text, 'parentCID');
  if (parent !== undefined && parent.toLowerCase() !== 'ffffffff') {
    refuseImage('it is the difference to a parent', convert);
  }
  const kind = entryOf(text, 'createType');
  if (kind === undefined || !kinds.includes(kind)) {
    refuseImage(`it is of kind ${JSON.stringify(kind ?? 'unknown')}`, convert);
  }
  const extents = text.split(/[\r\n]+/).filter((line) => /^\s*(RW|RDONLY|NOACCESS)\s/.test(line));
  if (extents.length !== 1 || !/^\s*(RW|RDONLY)\s+\d+\s+SPARSE\s/.test(extents[0] ?? '')) {
    refuseImage('it consists of several parts', convert);
  }
}

function entryOf(text: string, name: string): string | undefined {
  return new RegExp(`^\\s*${name}\\s*=\\s*"?([^"\\r\\n]*)"?`, 'm').exec(text)?.[1]?.trim();
}
