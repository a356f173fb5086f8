import type { DeviceEndpoint, DeviceService } from '../api/device-service.ts';
import { HyperscaleError } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeName, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';

/** Block devices of all hosts: those here are this node's, for others their daemon is asked. */
export class HostDevices implements DeviceService {
  readonly #agent: Agent;

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  async make(
    idOrName: string,
    host: NodeName,
    name: string | undefined,
    signal: AbortSignal,
  ): Promise<DeviceEndpoint> {
    const { self, peers } = this.#agent.context;
    const { id } = this.#volume(idOrName);
    if (host === self.node) return { host, ...(await this.#agent.devices.make(id, name)) };
    this.#mustBeUp(host);
    const request = name === undefined ? { volume: id } : { volume: id, name };
    return { host, ...(await peers.of(host, { signal }).makeDevice(request)) };
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
    const { store } = this.#agent.context;
    const found = store.volumeNamed(idOrName) ?? store.volume(idOrName);
    if (found !== undefined) return found.value;
    throw new HyperscaleError('not-found', `there is no volume ${JSON.stringify(idOrName)}`, {
      hint: 'List them with: hscli volume list',
    });
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
