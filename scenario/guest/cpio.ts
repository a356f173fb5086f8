/** A file of an initramfs. Paths are relative, without a leading slash. */
export type ArchiveEntry =
  | { kind: 'directory'; path: string }
  | { kind: 'file'; path: string; content: Buffer; mode: number }
  | { kind: 'link'; path: string; target: string }
  | { kind: 'character-device'; path: string; major: number; minor: number };

const fileType = {
  directory: 0o040755,
  file: 0o100000,
  link: 0o120777,
  'character-device': 0o020600,
} as const;

function padded(part: Buffer): Buffer[] {
  const missing = (4 - (part.length % 4)) % 4;
  return missing === 0 ? [part] : [part, Buffer.alloc(missing)];
}

function record(
  inode: number,
  path: string,
  mode: number,
  content: Buffer,
  device: readonly [number, number] = [0, 0],
): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length, 0];
  const hex = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  return [...padded(Buffer.concat([Buffer.from(`070701${hex}`), name])), ...padded(content)];
}

/**
 * A cpio archive in the "newc" format, the one that Linux unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). The same entries give the same
 * bytes. Parent directories must be listed before what they hold.
 */
export function cpioArchive(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, index) => {
    const inode = index + 1;
    const type = fileType[entry.kind];
    switch (entry.kind) {
      case 'directory':
        parts.push(...record(inode, entry.path, type, Buffer.alloc(0)));
        break;
      case 'file':
        parts.push(...record(inode, entry.path, type | entry.mode, entry.content));
        break;
      case 'link':
        parts.push(...record(inode, entry.path, type, Buffer.from(entry.target)));
        break;
      case 'character-device':
        parts.push(...record(inode, entry.path, type, Buffer.alloc(0), [entry.major, entry.minor]));
        break;
    }
  });
  parts.push(...record(0, 'TRAILER!!!', 0, Buffer.alloc(0)));
  return Buffer.concat(parts);
}
