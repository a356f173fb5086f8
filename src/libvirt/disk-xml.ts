import { isAbsolute } from 'node:path';
import { HyperscaleError } from '../errors.ts';
import { checkQos, type DiskQos } from './disk-qos.ts';
import { element, writeIndented, type XmlNode } from './xml.ts';

/**
 * Where QEMU finds a disk: an NBD export behind the attachment's Unix socket, or a block device of
 * the host.
 */
export type DiskSource =
  | { type: 'network'; socket: string; export: string }
  | { type: 'block'; path: string };

export const diskBuses = ['virtio', 'scsi', 'sata', 'ide', 'usb'] as const;
export type DiskBus = (typeof diskBuses)[number];

export type DiskConfig = {
  source: DiskSource;
  /** The volume's id: how a disk of a guest is found again. */
  serial: string;
  /** The name of the disk in the domain (`vda`); the guest may call it otherwise. */
  target: string;
  bus: DiskBus;
  /** The place in the order in which the firmware tries to boot, from 1. */
  bootOrder?: number;
  readOnly?: boolean;
  /** Several guests write to it at once (multi-attach). */
  shareable?: boolean;
  /** Let the guest give blocks back; true when it is not given. */
  discard?: boolean;
  qos?: DiskQos;
};

/**
 * How long QEMU keeps requests and tries to reach the socket again, in seconds: the most that
 * libvirt and QEMU take (an unsigned 32-bit number, 136 years), because a request of a guest must
 * wait for the volume, never fail, however long a fault lasts.
 */
export const reconnectSeconds = 2 ** 32 - 1;

/** The longest path that fits into the address of a Unix socket on Linux. */
const maxSocketPath = 107;
/** An NBD export's name, in bytes (the NBD protocol's limit). */
const maxExportName = 4096;

/**
 * libvirt's `<disk>` element for a volume. Nothing is cached on the host (`cache='none'`: what the
 * guest flushed is on the volume), and an I/O error stops the guest instead of reaching its file
 * systems (`error_policy`, `rerror_policy`).
 * @throws `bad-input` naming the value that libvirt would not take
 */
export function diskXml(config: DiskConfig): string {
  checkConfig(config);
  return writeIndented(
    element('disk', { type: config.source.type, device: 'disk' }, [
      element('driver', {
        name: 'qemu',
        type: 'raw',
        cache: 'none',
        error_policy: 'stop',
        rerror_policy: 'stop',
        ...ioAttribute(config.source),
        discard: (config.discard ?? true) ? 'unmap' : 'ignore',
      }),
      sourceElement(config.source),
      element('target', { dev: config.target, bus: config.bus }),
      ...flag('readonly', config.readOnly),
      ...flag('shareable', config.shareable),
      element('serial', {}, config.serial),
      ...bootElement(config.bootOrder),
      ...qosElement(config.qos ?? {}),
    ]),
  );
}

/** The `<source>` element of a disk. @throws `bad-input` */
export function sourceElement(source: DiskSource): XmlNode {
  if (source.type === 'block') {
    checkPath('the block device', source.path, 4095);
    return element('source', { dev: source.path });
  }
  checkPath('the socket', source.socket, maxSocketPath);
  if (source.export === '' || Buffer.byteLength(source.export) > maxExportName) {
    throw wrong('the export name', source.export, `1 to ${maxExportName} bytes`);
  }
  return element('source', { protocol: 'nbd', name: source.export }, [
    element('host', { transport: 'unix', socket: source.socket }),
    element('reconnect', { delay: String(reconnectSeconds) }),
  ]);
}

/** Linux AIO where there is a file descriptor for it; an NBD client has none. */
export function ioAttribute(source: DiskSource): { io?: 'native' } {
  return source.type === 'block' ? { io: 'native' } : {};
}

function checkConfig(config: DiskConfig): void {
  const { serial, target, bus, bootOrder, readOnly } = config;
  if (!/^[A-Za-z0-9_.+-]{1,255}$/.test(serial)) {
    throw wrong('the serial', serial, 'letters, digits and . _ + -, as the id of a volume');
  }
  if (!/^(hd|sd|vd|xvd|ubd)[a-z]{1,3}$/.test(target)) {
    throw wrong('the target', target, 'the name of a disk such as vda or sdb');
  }
  if (!diskBuses.includes(bus)) throw wrong('the bus', bus, `one of ${diskBuses.join(', ')}`);
  if (bootOrder !== undefined && (!Number.isInteger(bootOrder) || !(bootOrder >= 1))) {
    throw wrong('the boot order', bootOrder, 'a whole number from 1');
  }
  if (readOnly === true && (bus === 'ide' || bus === 'sata')) {
    throw wrong('the bus', bus, 'virtio, scsi or usb: QEMU has no read-only disks on others');
  }
}

function checkPath(what: string, path: string, limit: number): void {
  if (!isAbsolute(path)) throw wrong(what, path, 'an absolute path');
  if (/[\n\r]/.test(path)) throw wrong(what, path, 'one line (libvirt takes no other)');
  if (Buffer.byteLength(path) > limit) throw wrong(what, path, `at most ${limit} bytes long`);
}

function flag(name: string, on: boolean | undefined): XmlNode[] {
  return on === true ? [element(name, {})] : [];
}

function bootElement(order: number | undefined): XmlNode[] {
  return order === undefined ? [] : [element('boot', { order: String(order) })];
}

function qosElement(qos: DiskQos): XmlNode[] {
  const limits = Object.entries(checkQos(qos)).map(([name, value]) =>
    element(name, {}, String(value)),
  );
  return limits.length === 0 ? [] : [element('iotune', {}, limits)];
}

function wrong(what: string, value: unknown, expected: string): HyperscaleError {
  return new HyperscaleError(
    'bad-input',
    `${what} ${JSON.stringify(value)} of a disk is not ${expected}`,
    { values: { value } },
  );
}
