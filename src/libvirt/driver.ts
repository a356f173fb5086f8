import type { Connector } from '../connector/connector.ts';
import type { DeviceInfo } from '../connector/device-info.ts';
import { fieldsOf } from '../connector/properties.ts';
import { HyperscaleError } from '../errors.ts';
import { parseConnectionInfo, parseDiskInfo } from './connection-info.ts';
import { diskXml } from './disk-xml.ts';

/**
 * What a compute service asks of the storage of a guest, with the meaning of Nova's libvirt volume
 * drivers. Every call can be repeated.
 */
export interface VolumeDriver {
  /** libvirt's `<disk>` for a volume that was connected. */
  getConfig(connectionInfo: unknown, diskInfo: unknown): string;
  /**
   * Makes the volume usable on this host.
   * @returns the connection info with what `getConfig` needs: the caller keeps it for this host
   */
  connectVolume(connectionInfo: unknown, signal?: AbortSignal): Promise<ConnectedInfo>;
  /** Ends its use on this host; what is not connected is no error. */
  disconnectVolume(
    connectionInfo: unknown,
    options?: { force?: boolean; signal?: AbortSignal },
  ): Promise<void>;
  /** Makes this host see the size that the volume has now; returns it, in bytes. */
  extendVolume(connectionInfo: unknown, signal?: AbortSignal): Promise<number>;
}

/** A connection info as it was given, and where the volume is on this host. */
export type ConnectedInfo = Record<string, unknown> & {
  serial: string;
  data: Record<string, unknown>;
};

/** The volumes of HyperScale: an attachment's NBD socket, or a block device. */
export class HyperscaleVolumeDriver implements VolumeDriver {
  readonly #connector: Connector;

  constructor(connector: Connector) {
    this.#connector = connector;
  }

  getConfig(connectionInfo: unknown, diskInfo: unknown): string {
    const info = parseConnectionInfo(connectionInfo);
    const { dev, bus, bootIndex } = parseDiskInfo(diskInfo);
    const { source, serial, readOnly, shareable, discard, qos, wanted } = info;
    if (source === undefined || serial === undefined) {
      throw new HyperscaleError('not-allowed', `volume ${wanted.volume} is not connected`, {
        hint: 'Call connectVolume first, and pass on the connection info that it returns.',
        values: { volume: wanted.volume },
      });
    }
    return diskXml({
      ...{ source, serial, target: dev, bus, readOnly, shareable, discard, qos },
      ...(bootIndex === undefined ? {} : { bootOrder: bootIndex }),
    });
  }

  async connectVolume(connectionInfo: unknown, signal?: AbortSignal): Promise<ConnectedInfo> {
    const { wanted, serial } = parseConnectionInfo(connectionInfo);
    const info = fieldsOf(connectionInfo, 'the connection info');
    const data = fieldsOf(info.data, 'the connection data');
    const id = serial ?? (await this.#connector.volumeId(wanted.volume, signal));
    const device = await this.#connector.connectVolume(data, signal);
    return { ...info, serial: id, data: { ...data, ...placeOf(device) } };
  }

  async disconnectVolume(
    connectionInfo: unknown,
    options: { force?: boolean; signal?: AbortSignal } = {},
  ): Promise<void> {
    const data = dataOf(connectionInfo);
    await this.#connector.disconnectVolume(data, null, options);
  }

  async extendVolume(connectionInfo: unknown, signal?: AbortSignal): Promise<number> {
    return await this.#connector.extendVolume(dataOf(connectionInfo), signal);
  }
}

function dataOf(connectionInfo: unknown): unknown {
  return fieldsOf(connectionInfo, 'the connection info').data;
}

function placeOf(device: DeviceInfo): Record<string, string> {
  return device.type === 'network'
    ? { socket: device.socket, session: device.export }
    : { device_path: device.path };
}
