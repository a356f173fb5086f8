/** Taking a volume away from a guest of this node. */
import { diskOn, domainNow, readDomain } from '../libvirt/domain.ts';
import type { Volume } from '../volume/types.ts';
import { mustStay } from './attach.ts';
import { vmDisk } from './list.ts';
import { releaseDisk } from './release.ts';
import { isAttachedHere, usersHere } from './use.ts';
import type { VmContext } from './vm-context.ts';
import type { VmDiskChange } from './vms.ts';

/** What follows once the guest has let go does not depend on the caller, who may have gone away. */
const finishTimeoutMs = 60_000;

/**
 * First the guest lets go, then the volume is detached from this node, and last its disk leaves the
 * definition: until then a repeated call knows what is left to be done.
 */
export async function detachDisk(
  context: VmContext,
  uuid: string,
  volume: Volume,
  guestMs: number,
  signal: AbortSignal,
): Promise<VmDiskChange> {
  const { virsh, self, volumes } = context;
  const before = await readDomain(virsh, uuid);
  await mustStay(context, before);
  const disk = vmDisk(before, volume);
  const isAttached = isAttachedHere(context, volume);
  if (disk === undefined) {
    return {
      node: self.node,
      uuid,
      vm: before.name,
      disk: { ...nowhere, volume: volume.id, name: volume.name },
      changed: false,
      notes: isAttached ? [stillAttached(volume, self.node)] : [],
    };
  }
  if (disk.live) {
    const wait = { uuid, name: before.name, target: disk.target, serial: volume.id, guestMs };
    await releaseDisk(context, wait, signal);
  }
  const notes: string[] = [];
  const others = isAttached ? await usersHere(context, volume.id) : [];
  const [other] = others;
  if (other === undefined) {
    await volumes.detach(volume.id, AbortSignal.timeout(finishTimeoutMs));
  } else {
    notes.push(`Volume ${volume.name} stays attached on ${self.node}: '${other.name}' has it too.`);
  }
  const after = await domainNow(virsh, uuid);
  const defined = diskOn(after?.config ?? null, volume.id);
  if (defined !== undefined) {
    await virsh.run(['detach-disk', '--domain', uuid, '--target', defined.target, '--config']);
  }
  await context.noteDomain(uuid);
  return { node: self.node, uuid, vm: before.name, disk, changed: true, notes };
}

/** A disk that the domain does not have. */
const nowhere = { target: '', bus: '', live: false, persistent: false };

function stillAttached({ name }: Volume, node: string): string {
  return (
    `Volume ${name} is attached on ${node}, but not as a disk of this domain; ` +
    `if nothing else uses it: hscli volume detach ${name} --node ${node}`
  );
}
