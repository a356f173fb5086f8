/** Who uses a volume. A volume is for one guest at a time. */
import { HyperscaleError } from '../errors.ts';
import { diskOn, listDomains, liveXml } from '../libvirt/domain.ts';
import { consumersOf } from '../volume/attachments.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import type { VmContext } from './vm-context.ts';

/** How long another node may take to say which of its guests has a volume. */
const askTimeoutMs = 3_000;

/** True when consumers of this host, in this boot, may use the volume. */
export function isAttachedHere({ self }: Pick<VmContext, 'self'>, volume: Volume): boolean {
  return consumersOf(volume).some(({ host, boot }) => host === self.node && boot === self.boot);
}

/** The running domains of this node that have a disk on the volume. */
export async function usersHere(
  { virsh }: Pick<VmContext, 'virsh'>,
  volume: VolumeId,
): Promise<{ uuid: string; name: string }[]> {
  const users: { uuid: string; name: string }[] = [];
  for (const domain of await listDomains(virsh, 'active')) {
    const live = await liveXml(virsh, domain.uuid);
    if (diskOn(live, volume) !== undefined) users.push(domain);
  }
  return users;
}

/**
 * Refuses a volume that somebody else uses: a host other than this one, or another running guest
 * here. What is attached here without a guest is taken over: an earlier attach may not have come to
 * its end.
 *
 * @throws `in-use` saying where
 */
export async function mustBeUnused(
  context: VmContext,
  volume: Volume,
  uuid: string | null,
): Promise<void> {
  const { node } = context.self;
  const elsewhere = consumersOf(volume)
    .map((a) => a.host)
    .find((host) => host !== node);
  if (elsewhere !== undefined) throw await inUse(context, volume, elsewhere);
  if (!isAttachedHere(context, volume)) return;
  const users = await usersHere(context, volume.id);
  const other = users.find((user) => user.uuid !== uuid);
  if (other !== undefined) throw refusal(volume, node, other.name);
  if (users.length === 0 && context.volumes.isDevice(volume.id)) {
    throw new HyperscaleError('in-use', `volume ${volume.name} is a block device of ${node}`, {
      hint: `Take it away first: hscli volume device ${volume.name} --remove`,
      values: { volume: volume.id, hosts: [node], vm: null },
    });
  }
}

/**
 * Two hosts may have attached it at the same time, since neither saw the other; the one whose
 * attachment was recorded first has it.
 */
export async function mustBeFirst(context: VmContext, id: VolumeId): Promise<void> {
  const volume = await context.volumes.read(id);
  const first = consumersOf(volume)[0]?.host ?? context.self.node;
  if (first !== context.self.node) throw await inUse(context, volume, first);
}

async function inUse(context: VmContext, volume: Volume, host: string): Promise<HyperscaleError> {
  const { vms } = await context
    .far(host, { timeoutMs: askTimeoutMs })
    .list()
    // That it is attached there is known without it.
    .catch(() => ({ vms: [] }));
  const user = vms.find((vm) => vm.disks.some((d) => d.volume === volume.id && d.live));
  return refusal(volume, host, user?.name);
}

function refusal(volume: Volume, host: string, vm: string | undefined): HyperscaleError {
  const by = vm === undefined ? `attached on ${host}` : `a disk of '${vm}' on ${host}`;
  const undo =
    vm === undefined
      ? `hscli volume detach ${volume.name} --node ${host}`
      : `hscli vm detach ${vm} ${volume.name}`;
  return new HyperscaleError('in-use', `volume ${volume.name} is ${by}`, {
    hint: `A volume is for one guest at a time. Take it away there first: ${undo}`,
    values: { volume: volume.id, hosts: [host], vm: vm ?? null },
  });
}
