/** The domains of this node and their volumes. */
import pLimit from 'p-limit';
import { type Domain, diskOn, domainNow, listDomains } from '../libvirt/domain.ts';
import { domainDisks } from '../libvirt/domain-xml.ts';
import type { Volume } from '../volume/types.ts';
import type { VmContext } from './vm-context.ts';
import type { Vm, VmDisk } from './vms.ts';

/** virsh is a process a call. */
const domainsAtATime = 2;

/** A volume as a disk of a domain; undefined when it is none. */
export function vmDisk({ live, config }: Domain, volume: Volume): VmDisk | undefined {
  const [now, defined] = [diskOn(live, volume.id), diskOn(config, volume.id)];
  const known = now ?? defined;
  if (known === undefined) return undefined;
  return {
    volume: volume.id,
    name: volume.name,
    target: known.target,
    bus: known.bus ?? '',
    live: now !== undefined,
    persistent: defined !== undefined,
  };
}

/** All domains of this node, by name, with their disks in the order of the definition. */
export async function listVms(
  context: Pick<VmContext, 'virsh' | 'volumes' | 'self'>,
): Promise<Vm[]> {
  const limit = pLimit(domainsAtATime);
  const volumes = new Map(context.volumes.all().map((volume) => [volume.id, volume]));
  const read = async (uuid: string): Promise<Vm[]> => {
    // It may have gone away since it was listed.
    const domain = await domainNow(context.virsh, uuid);
    return domain === undefined ? [] : [vmOf(domain, volumes, context.self.node)];
  };
  const domains = await listDomains(context.virsh);
  const vms = await Promise.all(domains.map(({ uuid }) => limit(() => read(uuid))));
  return vms.flat().sort((a, b) => a.name.localeCompare(b.name));
}

function vmOf(domain: Domain, volumes: ReadonlyMap<string, Volume>, node: string): Vm {
  const serials = [domain.live, domain.config]
    .filter((xml) => xml !== null)
    .flatMap((xml) => domainDisks(xml).flatMap(({ serial }) => serial ?? []));
  const disks = [...new Set(serials)].flatMap((serial) => {
    const volume = volumes.get(serial);
    return (volume === undefined ? undefined : vmDisk(domain, volume)) ?? [];
  });
  const { uuid, name, state, config } = domain;
  return { node, uuid, name, state, persistent: config !== null, disks };
}
