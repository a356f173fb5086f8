import type { FileBytes } from './file-bytes.ts';
import { copyAgain, refuseImage } from './refuse.ts';

/**
 * What a qcow2 file says of itself, before QEMU sees it. The layout is that of
 * https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt; numbers are big endian.
 */
const magic = 0x5146_49fb;
const headerBytes = { 2: 72, 3: 104 } as const;
const extension = { end: 0, dataFile: 0x4441_5441 };
/** Bits that a reader must understand. */
const incompatible = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n };
const known = incompatible.compression | incompatible.extendedL2;
/** QEMU's own bounds for tables that it keeps in memory. */
const maxL1Bytes = 32 * 2 ** 20;
const maxRefcountTableBytes = 8 * 2 ** 20;
/** More than anybody makes, and their tables are read whole. */
const maxSnapshots = 256;

/**
 * Refuses a qcow2 file that names other files, is encrypted, damaged, or absurd.
 * @returns its virtual size in bytes.
 * @throws `bad-input`
 */
export async function checkQcow2(file: FileBytes): Promise<number> {
  const head = await file.read(0, 4096);
  if (head.length < 8 || head.readUInt32BE(0) !== magic) {
    refuseImage('it is not qcow2', 'Say what it is with --format, or leave --format out.');
  }
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) {
    refuseImage(`it is qcow version ${version}`, 'Convert it: qemu-img convert -O qcow2.');
  }
  if (head.length < headerBytes[version]) cutShort('its header');
  if (head.readBigUInt64BE(8) !== 0n || head.readUInt32BE(16) !== 0) {
    refuseImage(
      'it has a backing file, and would show what that holds',
      'Make it complete where the backing file is trusted: qemu-img convert -O qcow2.',
    );
  }
  if (head.readUInt32BE(32) !== 0) {
    refuseImage('it is encrypted', 'Decrypt it where its key is: qemu-img convert.');
  }
  const length = version === 3 ? head.readUInt32BE(100) : headerBytes[2];
  if (version === 3) checkFeatures(head.readBigUInt64BE(72));
  await checkExtensions(file, length);
  checkTables(file, head);
  return Number(head.readBigUInt64BE(24));
}

function checkFeatures(features: bigint): void {
  if ((features & incompatible.dataFile) !== 0n) refuseDataFile();
  const damage = features & (incompatible.dirty | incompatible.corrupt);
  if (damage !== 0n) {
    const state = (damage & incompatible.corrupt) === 0n ? 'in use when it was left' : 'corrupt';
    refuseImage(`it is marked as ${state}`, 'Repair it first: qemu-img check -r all FILE.');
  }
  if ((features & ~known) !== 0n) {
    const bits = `0x${features.toString(16)}`;
    refuseImage(`it has unknown features (${bits})`, 'Convert it: qemu-img convert -O qcow2.');
  }
}

/** Extensions follow the header, each with its kind and length, within the first cluster. */
async function checkExtensions(file: FileBytes, begin: number): Promise<void> {
  let at = begin;
  // As many as fit into the largest cluster are far more than there are kinds.
  for (let count = 0; count < 64; count += 1) {
    const head = await file.read(at, 8);
    if (head.length < 8) return;
    const [kind, length] = [head.readUInt32BE(0), head.readUInt32BE(4)];
    if (kind === extension.end) return;
    if (kind === extension.dataFile) refuseDataFile();
    at += 8 + Math.ceil(length / 8) * 8;
  }
  refuseImage('its header has too many extensions', 'Convert it: qemu-img convert -O qcow2.');
}

function checkTables(file: FileBytes, head: Buffer): void {
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) {
    refuseImage(`its clusters have 2^${clusterBits} bytes`, 'It is damaged or no qcow2 file.');
  }
  const l1Bytes = head.readUInt32BE(36) * 8;
  const refcountBytes = head.readUInt32BE(56) * 2 ** clusterBits;
  if (l1Bytes > maxL1Bytes || refcountBytes > maxRefcountTableBytes) {
    refuseImage(
      `its tables would take ${Math.max(l1Bytes, refcountBytes)} bytes of memory`,
      'No image of a size that a volume may have needs so much.',
    );
  }
  const l1End = Number(head.readBigUInt64BE(40)) + l1Bytes;
  const refcountEnd = Number(head.readBigUInt64BE(48)) + refcountBytes;
  // The last of them may end with the file, which need not fill its last cluster.
  if (l1End > file.size || refcountEnd - 2 ** clusterBits >= file.size) cutShort('its tables');
  const snapshots = head.readUInt32BE(60);
  if (snapshots > maxSnapshots) {
    refuseImage(
      `it has ${snapshots} internal snapshots, more than ${maxSnapshots}`,
      'They are not imported anyway: qemu-img convert makes a file without them.',
    );
  }
}

function refuseDataFile(): never {
  refuseImage(
    'it keeps its data in another file',
    'Make it one file where the other one is trusted: qemu-img convert -O qcow2.',
  );
}

function cutShort(what: string): never {
  refuseImage(`the file ends before ${what}`, copyAgain);
}
