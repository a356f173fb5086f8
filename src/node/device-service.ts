import type { DeviceEndpoint, DeviceService, DeviceWish } from '../api/device-service.ts';
import { HyperscaleError } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeName, Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import type { Device } from './devices.ts';
import { findVolume } from './find-volume.ts';

/** Block devices of all hosts: those here are this node's, for others their daemon is asked. */
export class HostDevices implements DeviceService {
  readonly #agent: Agent;

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  async make(
    idOrName: string,
    host: NodeName,
    { name, attach = false }: DeviceWish,
    signal: AbortSignal,
  ): Promise<DeviceEndpoint> {
    const { self, peers } = this.#agent.context;
    const { devices } = this.#agent;
    const { id } = this.#volume(idOrName);
    if (host === self.node) {
      const made = attach ? this.#attached(id, name, signal) : devices.make(id, name, signal);
      return { host, ...(await made) };
    }
    this.#mustBeUp(host);
    const peer = peers.of(host, { signal });
    if (attach) await peer.attach(id);
    const request = name === undefined ? { volume: id } : { volume: id, name };
    return { host, ...(await peer.makeDevice(request)) };
  }

  /** Attaches here, and makes the device while the endpoint is still being made. */
  async #attached(id: VolumeId, name: string | undefined, signal: AbortSignal): Promise<Device> {
    const { devices } = this.#agent;
    devices.mayMake(name);
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    let device: Promise<Device> | undefined;
    try {
      await this.#agent.attach(id, signal, () => {
        device = devices.make(id, name, either);
        device.catch(() => undefined); // waited for below
      });
    } catch (error) {
      failed.abort(error);
      await device?.catch(() => undefined);
      throw error;
    }
    return await (device ?? devices.make(id, name, signal));
  }

  async remove(
    idOrName: string,
    host: NodeName,
    force: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { self, peers, store } = this.#agent.context;
    const volume = this.#volume(idOrName);
    if (host === self.node) return this.#agent.devices.remove(volume.id, force);
    // A device goes with its attachment, so nobody who is down has to be asked for one.
    const isUp = (store.node(host)?.lease ?? null) !== null;
    if (!isUp && store.node(host) !== undefined && attachmentOn(volume, host) === undefined) return;
    this.#mustBeUp(host);
    await peers.of(host, { signal }).removeDevice({ volume: volume.id, force });
  }

  #volume(idOrName: string): Volume {
    return findVolume(this.#agent.context.store, idOrName).value;
  }

  #mustBeUp(host: NodeName): void {
    const node = this.#agent.context.store.node(host);
    if (node === undefined) {
      throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(host)}`, {
        hint: 'List them with: hscli node list',
      });
    }
    if (node.lease !== null) return;
    throw new HyperscaleError('node-down', `node ${host} is down`, {
      hint: `Start hyperscaled on ${host}. After a power cut nothing of its devices is left.`,
    });
  }
}
