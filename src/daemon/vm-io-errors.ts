import type { DomainEvents } from '../libvirt/events.ts';
import type { Virsh } from '../libvirt/virsh.ts';
import type { Agent } from '../node/agent.ts';
import type { Service } from '../node/service.ts';
import { IoErrors } from '../vm/io-errors.ts';
import { attachmentOn } from '../volume/queries.ts';

/** The part of the daemon that lets guests go on which stopped at an I/O error. */
export function createIoErrors(parts: {
  agent: Agent;
  service: Service;
  virsh: Virsh;
  domainEvents: DomainEvents;
}): IoErrors {
  const { agent, service, virsh, domainEvents } = parts;
  const { store, self, events, environment, log } = agent.context;
  const attached = (id: string) => {
    const volume = store.volume(id)?.value;
    const mine = volume && attachmentOn(volume, self.node);
    return mine === undefined || mine.standInFor !== undefined ? undefined : volume;
  };
  return new IoErrors({
    virsh,
    domainEvents,
    attached,
    serves: (id) => {
      const volume = attached(id);
      const mine = volume && attachmentOn(volume, self.node);
      const writable = volume?.tail.phase === 'open';
      return mine !== undefined && writable && agent.worker(id).serves(mine.session);
    },
    searchDamage: async (id) => {
      const wishes = { seal: false, repair: true };
      await service.verify(id, wishes, new AbortController().signal);
    },
    events,
    environment,
    log,
  });
}
