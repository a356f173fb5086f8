/** Which disks of ours stopped a guest, as libvirt tells. */
import { isHyperscaleError } from '../errors.ts';
import { domainDisks, domainIdentity, volumeIdsOf } from '../libvirt/domain-xml.ts';
import type { Virsh } from '../libvirt/virsh.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import { failedDisks, stoppedByError } from './stopped-guest.ts';

export type StoppedGuest = {
  uuid: string;
  name: string;
  /** Those that failed; all of ours where libvirt does not know. */
  disks: { target: string; volume: Volume; error: string }[];
};

type Asks = {
  virsh: Virsh;
  /** The volume of that id, if it is attached on this node. */
  attached(id: VolumeId): Volume | undefined;
};

/**
 * The guest, when QEMU stopped it at an error of disks of ours; null when it runs, is gone, somebody
 * paused it, or a disk that is none of ours failed.
 * @param domain name or UUID.
 * @throws what libvirt says when it does not answer
 */
export async function stoppedGuest(asks: Asks, domain: string): Promise<StoppedGuest | null> {
  const ask = (...args: string[]) => asks.virsh.run([...args, '--domain', domain]);
  try {
    if (!(await isStopped(asks, domain, true))) return null;
    const xml = await ask('dumpxml');
    const errors = failedDisks(await ask('domblkerror'));
    // Asked once more, now that the errors are known: what somebody paused stays paused.
    if (!(await isStopped(asks, domain, errors.length > 0))) return null;
    const disks = domainDisks(xml).flatMap((disk) => {
      const { target } = disk;
      const known = volumeIdsOf(disk)
        .map((id) => asks.attached(id))
        .find((v) => v !== undefined);
      const error = errors.find((e) => e.target === target)?.error;
      const failed = errors.length === 0 || error !== undefined;
      return known === undefined || !failed ? [] : [{ target, volume: known, error: error ?? '?' }];
    });
    // Where another disk failed too, it is for those who know about that one.
    const others = errors.some(({ target }) => !disks.some((d) => d.target === target));
    return disks.length === 0 || others ? null : { ...domainIdentity(xml), disks };
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) return null;
    throw error;
  }
}

/** True while QEMU keeps it stopped because of an error, and nobody else paused it. */
async function isStopped(
  { virsh }: Asks,
  domain: string,
  hasDiskErrors: boolean,
): Promise<boolean> {
  return stoppedByError(
    await virsh.run(['domstate', '--reason', '--domain', domain]),
    hasDiskErrors,
  );
}
