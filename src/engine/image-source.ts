import type { ImageFormat } from '../image/format.ts';

/** A file to be read as an image; nothing else that it names is opened. */
export type ImageSource = { path: string; format: ImageFormat };

/** How QEMU is to open it: the format said, a plain file below, nothing behind it. */
export function imageNode({ path, format }: ImageSource): string {
  const node = {
    driver: format,
    'read-only': true,
    file: { driver: 'file', filename: path, 'read-only': true },
    // What has none anyway knows no such option.
    ...(format === 'qcow2' || format === 'vmdk' ? { backing: null } : {}),
  };
  return `json:${JSON.stringify(node)}`;
}
