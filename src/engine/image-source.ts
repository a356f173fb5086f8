import type { ImageFormat } from '../image/format.ts';

/** A file to be read as an image; nothing else that it names is opened. */
export type ImageFile = { path: string; format: ImageFormat };
/** What an NBD server shows; `path` is its Unix socket on this host. 0, or absent: it is read as fast as it goes. */
export type ServedImage = { path: string; format: 'nbd'; bytesPerSecond?: number };
export type ImageSource = ImageFile | ServedImage;

/** How QEMU is to open it: the format said, a plain file below, nothing behind it. */
export function imageNode(source: ImageSource): string {
  const { path, format } = source;
  if (format === 'nbd') {
    return `json:${JSON.stringify({ driver: 'nbd', 'read-only': true, server: { type: 'unix', path } })}`;
  }
  const node = {
    driver: format,
    'read-only': true,
    file: { driver: 'file', filename: path, 'read-only': true },
    // What has none anyway knows no such option.
    ...(format === 'qcow2' || format === 'vmdk' ? { backing: null } : {}),
  };
  return `json:${JSON.stringify(node)}`;
}
