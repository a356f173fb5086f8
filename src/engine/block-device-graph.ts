import { blockdev, nbdExport, nbdNode, processArguments } from './graphs.ts';

/** Seconds in which the attachment must serve while a device is made; an exchange of heads fits in. */
const openTimeoutSeconds = 10;

/**
 * A block device's process: the session's export at the attachment's socket, shown as a file. The file
 * is for the kernel of this host alone (`allow-other=off`: for root, whose loop device it carries).
 */
export function blockDeviceArguments(
  spec: { session: string; socket: string; file: string },
  eventsFile: string,
): string[] {
  const attachment = {
    ...nbdNode({ type: 'unix', path: spec.socket }, spec.session),
    'node-name': 'top',
    'open-timeout': openTimeoutSeconds,
    discard: 'unmap',
  };
  return [
    ...processArguments(eventsFile),
    ...blockdev(attachment),
    ...nbdExport({
      type: 'fuse',
      id: 'device',
      'node-name': 'top',
      mountpoint: spec.file,
      writable: true,
      growable: false,
      'allow-other': 'off',
    }),
  ];
}
