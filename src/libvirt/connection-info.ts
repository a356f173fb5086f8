import { basename } from 'node:path';
import {
  badField,
  choiceField,
  type Fields,
  fieldsOf,
  flagField,
  parseProperties,
  textField,
  type Wanted,
} from '../connector/properties.ts';
import { HyperscaleError } from '../errors.ts';
import { looksLikeUuid } from '../volume/names.ts';
import { type DiskQos, qosNames } from './disk-qos.ts';
import { type DiskBus, type DiskSource, diskBuses } from './disk-xml.ts';

/** What is known about a volume that a guest is to have: the connection info of Cinder and Nova. */
export type ConnectionInfo = {
  driverVolumeType: string;
  /** The volume and how it is connected. */
  wanted: Wanted;
  /** What the guest sees as the disk's serial number; undefined until the id is looked up. */
  serial: string | undefined;
  /** Where the disk is, once the volume was connected on this host. */
  source: DiskSource | undefined;
  readOnly: boolean;
  /** Several guests write to it. */
  shareable: boolean;
  discard: boolean;
  qos: DiskQos;
};

/** Nova's `disk_info`: how a guest has a disk. */
export type DiskInfo = {
  /** Name in the domain, such as `vda`. */
  dev: string;
  bus: DiskBus;
  bootIndex: number | undefined;
};

/**
 * Reads `{driver_volume_type, serial?, multiattach?, data}`, where `data` holds `volume` or `name`,
 * `mode` (see `parseProperties`), `qos_specs`, `access_mode` (`ro`, `rw`), `discard`, and, once the
 * volume was connected, `socket` and `session`, or `device_path`.
 * @throws `bad-input` naming the field that is wrong
 */
export function parseConnectionInfo(given: unknown): ConnectionInfo {
  const info = fieldsOf(given, 'the connection info');
  const driverVolumeType = textField(info, 'driver_volume_type');
  if (driverVolumeType === undefined) {
    throw badField('driver_volume_type', undefined, 'the type of a volume');
  }
  const data = fieldsOf(info.data, 'the connection data');
  const wanted = parseProperties(data);
  return {
    driverVolumeType,
    wanted,
    serial: textField(info, 'serial') ?? uuidIn(wanted),
    source: sourceOf(data, wanted),
    readOnly: choiceField(data, 'access_mode', ['ro', 'rw']) === 'ro',
    shareable: flagField(info, 'multiattach') ?? false,
    discard: flagField(data, 'discard') ?? true,
    qos: qosOf(data),
  };
}

/** Reads `{dev, bus, type?, boot_index?}`. @throws `bad-input` naming the field that is wrong */
export function parseDiskInfo(given: unknown): DiskInfo {
  const info = fieldsOf(given, 'the disk info');
  const dev = textField(info, 'dev');
  if (dev === undefined) throw badField('dev', undefined, 'the name of a disk such as vda');
  const bus = choiceField(info, 'bus', diskBuses);
  if (bus === undefined) throw badField('bus', undefined, `one of ${diskBuses.join(', ')}`);
  choiceField(info, 'type', ['disk']);
  const index = info.boot_index ?? undefined;
  return { dev, bus, bootIndex: index === undefined ? undefined : count('boot_index', index) };
}

function sourceOf(data: Fields, { access }: Wanted): DiskSource | undefined {
  if (access.by === 'network') {
    const socket = textField(data, 'socket');
    const session = textField(data, 'session');
    if (socket === undefined || session === undefined) return undefined;
    return { type: 'network', socket, export: session };
  }
  const path = textField(data, 'device_path');
  if (path === undefined) return undefined;
  // A path that was left over from another volume must never reach a guest.
  if (basename(path) !== access.device) {
    throw new HyperscaleError(
      'conflict',
      `"device_path" of the connection is ${JSON.stringify(path)}, which is not the device of this volume (${access.device})`,
      { hint: 'Connect the volume again.', values: { path, device: access.device } },
    );
  }
  return { type: 'block', path };
}

function uuidIn({ volume, access }: Wanted): string | undefined {
  if (access.by === 'legacy') return volume.replace(/^volume-/, '');
  return looksLikeUuid(volume) ? volume : undefined;
}

/** Limits that are not for the hypervisor are another's: Cinder passes all that a volume has. */
function qosOf(data: Fields): DiskQos {
  if (data.qos_specs === undefined || data.qos_specs === null) return {};
  const specs = fieldsOf(data.qos_specs, '"qos_specs" of the connection');
  const qos: DiskQos = {};
  for (const name of qosNames) {
    if (specs[name] !== undefined) qos[name] = count(`qos_specs.${name}`, specs[name]);
  }
  return qos;
}

/** A whole number; Nova and Cinder write some of them as text. */
function count(field: string, value: unknown): number {
  const number = typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
  throw badField(field, value, 'a whole number');
}
