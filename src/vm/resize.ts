/**
 * Telling the guests of this node that a volume has grown. QEMU's NBD client learns the new size when
 * it connects anew, and connects anew at its next request; only then does `block_resize`, by which the
 * guest learns it, succeed (QEMU 10.0: "Cannot grow NBD nodes" before).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer } from '../api/service.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { domainDisks, domainIdentity, volumeIdsOf } from '../libvirt/domain-xml.ts';
import { libvirtSaid, type Virsh } from '../libvirt/virsh.ts';
import { attribute, child, childrenNamed, nameOf, parseXml } from '../libvirt/xml.ts';
import type { ResizeConsumers } from '../node/consumer-sizes.ts';
import type { VolumeId } from '../volume/types.ts';

/** A guest that uses its disk has sent a request within this time, mostly. */
const ownRequestMs = 300;

/** `device`: what QEMU calls the disk. */
type Using = { uuid: string; domain: string; target: string; device: string };

/** The running domains of a libvirt, and making their disks as large as the volumes are. */
export class GuestDisks {
  readonly #virsh: Virsh;
  #looking: Promise<string[]> | undefined;
  #nextLook: Promise<string[]> | undefined;
  /** It is one that is in use here, so that its silence matters. */
  #answered = false;

  constructor(virsh: Virsh) {
    this.#virsh = virsh;
  }

  /** Makes every running guest here show this size of a volume. */
  readonly resize: ResizeConsumers = async (volume, sizeBytes, signal) => {
    let using: Using[];
    try {
      using = usersOf(await this.#domains(), volume);
    } catch (error) {
      const problem = errorText(error);
      return this.#answered ? [{ kind: 'host', name: this.#virsh.uri, problem }] : [];
    }
    return Promise.all(
      using.map(async (disk): Promise<Consumer> => {
        const name = `${disk.domain} ${disk.target}`;
        try {
          await this.#resizeDisk(disk, sizeBytes, signal);
          return { kind: 'domain', name, problem: null };
        } catch (error) {
          signal.throwIfAborted();
          return { kind: 'domain', name, problem: errorText(error) };
        }
      }),
    );
  };

  async #resizeDisk(disk: Using, sizeBytes: number, signal: AbortSignal): Promise<void> {
    if ((await this.#capacity(disk, signal)) >= sizeBytes) return;
    const resize = async () => {
      const size = ['--size', `${sizeBytes}b`];
      await this.#virsh.run(
        ['blockresize', '--domain', disk.uuid, '--path', disk.target, ...size],
        { signal },
      );
    };
    try {
      return await resize();
    } catch (error) {
      if (!knowsOldSize(error)) throw error;
    }
    await delay(ownRequestMs, undefined, { signal });
    try {
      return await resize();
    } catch (error) {
      if (!knowsOldSize(error)) throw error;
    }
    await this.#read(disk, signal);
    await resize();
  }

  /** One request of the disk's own QEMU, for a guest that is idle. libvirt has no call for this. */
  async #read(disk: Using, signal: AbortSignal): Promise<void> {
    const command = `qemu-io -d ${disk.device} "read 0 512"`;
    const monitor = ['qemu-monitor-command', '--domain', disk.uuid, '--hmp', '--cmd', command];
    const said = (await this.#virsh.run(monitor, { signal })).trim();
    if (said === '') return;
    throw new HyperscaleError('libvirt', `QEMU does not read ${disk.target}: ${said}`);
  }

  /** What QEMU tells the guest of the size of a disk; 0 when it does not say. */
  async #capacity({ uuid, target }: Using, signal: AbortSignal): Promise<number> {
    const text = await this.#virsh.run(['domstats', '--block', uuid], { signal });
    const [, index] = new RegExp(`block\\.(\\d+)\\.name=${target}$`, 'm').exec(text) ?? [];
    const [, bytes] = new RegExp(`block\\.${index}\\.capacity=(\\d+)$`, 'm').exec(text) ?? [];
    return Number(bytes ?? 0);
  }

  /**
   * The definitions of all running domains, from a look that begins after the call: a domain that it
   * does not find started later, with the size of that time. All who wait for one share it.
   */
  #domains(): Promise<string[]> {
    if (this.#looking === undefined) return this.#beginLook();
    this.#nextLook ??= this.#looking
      .catch(() => undefined)
      .then(() => {
        this.#nextLook = undefined;
        return this.#beginLook();
      });
    return this.#nextLook;
  }

  #beginLook(): Promise<string[]> {
    const look = this.#look().finally(() => {
      this.#looking = undefined;
    });
    this.#looking = look;
    return look;
  }

  async #look(): Promise<string[]> {
    const uuids = (await this.#virsh.run(['list', '--uuid'])).split('\n').filter((u) => u !== '');
    this.#answered = true;
    const domains: string[] = [];
    for (const uuid of uuids) {
      try {
        domains.push(await this.#virsh.run(['dumpxml', '--domain', uuid.trim()]));
      } catch (error) {
        // It has ended since.
        if (!isHyperscaleError(error, 'not-found')) throw error;
      }
    }
    return domains;
  }
}

/** The disks of these domains that are the volume. */
export function usersOf(domains: readonly string[], volume: VolumeId): Using[] {
  return domains.flatMap((xml) => {
    const { uuid, name: domain } = domainIdentity(xml);
    const devices = devicesOf(xml);
    const disks = domainDisks(xml).filter((disk) => volumeIdsOf(disk).includes(volume));
    return disks.map(({ target }) => ({
      uuid,
      domain,
      target,
      device: devices.get(target) ?? target,
    }));
  });
}

/** By their targets what QEMU calls the disks of a running domain: virtio devices have two parts. */
function devicesOf(xml: string): Map<string, string> {
  const domains = parseXml(xml).filter((node) => nameOf(node) === 'domain');
  const devices = domains.flatMap((domain) => childrenNamed(domain, 'devices'));
  const disks = devices.flatMap((d) => childrenNamed(d, 'disk'));
  return new Map(
    disks.flatMap((disk) => {
      const alias = attribute(child(disk, 'alias'), 'name');
      const target = attribute(child(disk, 'target'), 'dev');
      if (alias === undefined || target === undefined) return [];
      const isVirtio = attribute(child(disk, 'target'), 'bus') === 'virtio';
      const device = isVirtio ? `/machine/peripheral/${alias}/virtio-backend` : alias;
      return [[target, device] as const];
    }),
  );
}

/** QEMU has not connected anew since the volume grew. */
function knowsOldSize(error: unknown): boolean {
  return libvirtSaid(error, /Cannot grow NBD nodes/);
}
