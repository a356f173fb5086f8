import { errorText, HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import type { Service } from '../node/service.ts';
import { diskCalls } from '../vm/disk-calls.ts';
import { KeyedSerial } from '../vm/keyed-serial.ts';
import { VmService } from '../vm/service.ts';
import type { Moves } from './vm-moves.ts';

/** The part of the daemon that gives volumes to the guests of this node's libvirt. */
export function createVmDisks(parts: { agent: Agent; service: Service; moves: Moves }): VmService {
  const { agent, service, moves } = parts;
  const { self, store, log } = agent.context;
  return new VmService({
    self,
    virsh: moves.virsh,
    events: moves.domainEvents,
    volumes: {
      all: () => store.volumes().map(({ value }) => value),
      get: (nameOrId) => service.volume(nameOrId).value,
      read: async (id) => {
        const record = await store.readVolume(id);
        if (record !== undefined) return record.value;
        throw new HyperscaleError('not-found', `volume ${id} is gone`);
      },
      attach: (id, signal) => service.attach(id, self.node, signal),
      detach: (id, signal) => service.detach(id, self.node, signal),
      isDevice: (id) => agent.devices.list().some(({ volume }) => volume === id),
    },
    others: () =>
      store
        .nodes()
        .filter(({ name, lease }) => name !== self.node && lease !== null)
        .map(({ name }) => name),
    far: diskCalls(moves.calls),
    presence: (uuid) => moves.domains.presence(uuid),
    noteDomain: async (uuid) => {
      try {
        await moves.service.keeper.note(uuid);
      } catch (error) {
        // libvirt tells of the change as well, and the keeper looks again.
        log.warn({ vm: uuid, error: errorText(error) }, 'a domain is not recorded');
      }
    },
    queue: new KeyedSerial(),
    log,
  });
}
