import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { looksLikeUuid } from '../volume/names.ts';
import { refuseSmaller } from './block-size.ts';
import {
  type DeviceInfo,
  type LegacyDevice,
  legacyDevice,
  networkDevice,
  textOf,
  unexpected,
} from './device-info.ts';
import { Hscli, type HscliOptions } from './hscli.ts';
import { type Fields, parseProperties, type Wanted } from './properties.ts';
import { withVolumeLock } from './volume-lock.ts';

export type ConnectorOptions = HscliOptions & {
  /**
   * Where locks lie that keep two calls for one volume apart, also those of other processes: the
   * same directory for all on this host.
   */
  lockDirectory: string;
  /** Where block devices get their names. */
  deviceDirectory: string;
};

export const connectorDefaults: ConnectorOptions = {
  rootHelper: [],
  program: 'hscli',
  timeoutSeconds: 60,
  lockDirectory: '/run/hyperscale/locks',
  deviceDirectory: '/dev',
};

/** So long may it take to take back what a call that failed has begun. */
const takeBackMs = 30_000;

/**
 * Connects volumes to this host through `hscli`, with os-brick's meaning of every call: what is
 * connected is connected again without harm, what is not connected is disconnected without error.
 * Calls for one volume wait for one another, on the whole host. `properties` is the `data` of a
 * volume's connection info (`parseProperties`).
 *
 * ```ts
 * const connector = new Connector({ rootHelper: ['sudo'] });
 * const device = await connector.connectVolume({ volume: 'db1' });
 * ```
 */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #hscli: Hscli;

  constructor(options: Partial<ConnectorOptions> = {}) {
    this.#options = { ...connectorDefaults, ...options };
    this.#hscli = new Hscli(this.#options);
  }

  /**
   * Resolves when the volume can be used on this host. When it fails or is cancelled, what it began
   * is taken back: an attachment that was there before stays.
   */
  async connectVolume(properties: unknown, signal?: AbortSignal): Promise<DeviceInfo> {
    const wanted = parseProperties(properties);
    return await this.#alone(wanted, signal, async () => {
      const begun = Date.now();
      try {
        return await this.#connect(wanted, signal);
      } catch (error) {
        throw await this.#takenBack(wanted, begun, error);
      }
    });
  }

  /**
   * Resolves when the volume is used here no longer and all its requests are settled.
   * @param options.force when the daemon cannot end the use in an orderly way, revoke it
   * @param options.ignoreErrors with `force`: do not fail even if that fails
   */
  async disconnectVolume(
    properties: unknown,
    _device: DeviceInfo | null,
    options: { force?: boolean; ignoreErrors?: boolean; signal?: AbortSignal } = {},
  ): Promise<void> {
    const wanted = parseProperties(properties);
    const { force = false, ignoreErrors = false, signal } = options;
    await this.#alone(wanted, signal, async () => {
      try {
        await this.#disconnect(wanted, signal);
      } catch (error) {
        if (!force || isHyperscaleError(error, 'cancelled')) throw error;
        await this.#revoke(wanted, signal).catch((second: unknown) => {
          if (!ignoreErrors || isHyperscaleError(second, 'cancelled')) throw second;
        });
      }
    });
  }

  /**
   * Makes this host see the size that the volume has now.
   * @returns that size in bytes
   * @throws `not-allowed` while a block device shows less: it could not be told yet
   */
  async extendVolume(properties: unknown, signal?: AbortSignal): Promise<number> {
    const wanted = parseProperties(properties);
    return await this.#alone(wanted, signal, async () => {
      if (wanted.access.by !== 'network') await this.#mustBeDevice(wanted, signal);
      const { sizeBytes } = await this.#hscli.ask(['volume', 'show', wanted.volume], signal);
      if (typeof sizeBytes !== 'number') throw unexpected('sizeBytes', sizeBytes);
      for (const path of this.#paths(wanted)) await refuseSmaller(path, sizeBytes);
      return sizeBytes;
    });
  }

  /**
   * What this host is to the storage, for the side that decides where a volume goes. A host on which
   * HyperScale does not run has no properties: it may use other storage.
   */
  async getConnectorProperties(signal?: AbortSignal): Promise<Record<string, string>> {
    try {
      const { node } = await this.#hscli.ask(['cluster', 'status'], signal);
      const { arch, platform } = process;
      return { platform: arch, os_type: platform, host: hostname(), node: textOf('node', node) };
    } catch (error) {
      if (isHyperscaleError(error, 'cancelled')) throw error;
      return {};
    }
  }

  /** The paths below which the volume is a block device of this host now; none for a socket. */
  getVolumePaths(properties: unknown): string[] {
    return this.#paths(parseProperties(properties));
  }

  /** The id of a volume. */
  async volumeId(volume: string, signal?: AbortSignal): Promise<string> {
    if (looksLikeUuid(volume)) return volume;
    const { id } = await this.#hscli.ask(['volume', 'show', volume], signal);
    return textOf('id', id);
  }

  async #connect({ volume, access }: Wanted, signal?: AbortSignal): Promise<DeviceInfo> {
    if (access.by === 'legacy') return await this.#connectLegacy(access, signal);
    const attached = await this.#hscli.ask(['volume', 'attach', volume], signal);
    if (access.by === 'network') return networkDevice(attached);
    const args = ['volume', 'device', volume, '--name', access.device];
    const { link } = await this.#hscli.ask(args, signal);
    return { type: 'block', path: textOf('link', link) };
  }

  /** Asks for the block device again, which lets it follow what it can. @throws `not-found` */
  async #mustBeDevice(wanted: Wanted, signal?: AbortSignal): Promise<void> {
    if (this.#paths(wanted).length > 0) {
      await this.#connect(wanted, signal);
      return;
    }
    throw new HyperscaleError('not-found', `volume ${wanted.volume} is no block device here`, {
      hint: 'Connect it first.',
      values: { volume: wanted.volume },
    });
  }

  #paths({ access }: Wanted): string[] {
    if (access.by === 'network') return [];
    const path = join(this.#options.deviceDirectory, access.device);
    return existsSync(path) ? [path] : [];
  }

  async #connectLegacy(
    { name, device }: { name: string; device: string },
    signal?: AbortSignal,
  ): Promise<LegacyDevice> {
    const call = { operation: 'connect_volume', volume_guid: name };
    const payload = await this.#hscli.callLegacy(call, signal);
    return legacyDevice(payload, join(this.#options.deviceDirectory, device));
  }

  async #disconnect({ volume, access }: Wanted, signal?: AbortSignal): Promise<void> {
    if (access.by === 'legacy') {
      const call = { operation: 'disconnect_volume', volume_guid: access.name };
      await this.#hscli.callLegacy(call, signal);
      return;
    }
    try {
      // A block device of the attachment ends with it, and before it.
      await this.#hscli.ask(['volume', 'detach', volume], signal);
    } catch (error) {
      if (!isHyperscaleError(error, 'not-found')) throw error; // deleted: nobody uses it any more
    }
  }

  async #revoke({ volume }: Wanted, signal?: AbortSignal): Promise<void> {
    await this.#hscli.ask(['volume', 'detach', volume, '--force'], signal);
  }

  /** Takes back an attachment that came into being since `begun`; returns the error to throw. */
  async #takenBack(wanted: Wanted, begun: number, error: unknown): Promise<unknown> {
    const signal = AbortSignal.timeout(takeBackMs);
    try {
      if (await this.#attachedSince(wanted.volume, begun, signal)) {
        await this.#disconnect(wanted, signal);
      }
      return error;
    } catch (second) {
      // There is no such volume, or nobody answers the second question either.
      if (isHyperscaleError(second, 'not-found')) return error;
      if (errorText(second) === errorText(error)) return error;
      const code = isHyperscaleError(error) ? error.code : 'internal';
      const left = `${errorText(error)}; what was begun could not be taken back`;
      return new HyperscaleError(code, `${left}: ${errorText(second)}`, {
        hint: `See hscli volume show ${wanted.volume}, and disconnect the volume again.`,
        cause: error,
      });
    }
  }

  async #attachedSince(volume: string, begun: number, signal: AbortSignal): Promise<boolean> {
    const { attachments } = await this.#hscli.ask(['volume', 'show', volume], signal);
    const { node } = await this.#hscli.ask(['cluster', 'status'], signal);
    const mine = (Array.isArray(attachments) ? (attachments as Fields[]) : []).find(
      ({ host }) => host === node,
    );
    return mine !== undefined && Date.parse(String(mine.since)) >= begun;
  }

  async #alone<T>(
    { volume }: Wanted,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    return await withVolumeLock(this.#options.lockDirectory, volume, work, signal);
  }
}
