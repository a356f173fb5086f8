/** What everything that gives volumes to guests works with. */
import type { Endpoint } from '../api/service.ts';
import type { DomainEvents } from '../libvirt/events.ts';
import type { Virsh } from '../libvirt/virsh.ts';
import type { Log } from '../node/context.ts';
import type { BootId, NodeName, Volume, VolumeId } from '../volume/types.ts';
import type { KeyedSerial } from './keyed-serial.ts';
import type { Presence } from './migration-end.ts';
import type { VmDisksHere } from './vms.ts';

export type VmContext = {
  self: { node: NodeName; boot: BootId };
  virsh: Virsh;
  events: DomainEvents;
  volumes: {
    all(): Volume[];
    /** By name or id. @throws `not-found` */
    get(nameOrId: string): Volume;
    /** As it is in the store now. */
    read(id: VolumeId): Promise<Volume>;
    attach(id: VolumeId, signal: AbortSignal): Promise<Endpoint>;
    detach(id: VolumeId, signal: AbortSignal): Promise<void>;
    /** Whether it is a block device of this host. */
    isDevice(id: VolumeId): boolean;
  };
  /** Live nodes other than this one. */
  others(): NodeName[];
  far(node: NodeName, options: { timeoutMs: number; signal?: AbortSignal }): VmDisksHere;
  /** Whether a domain of this node is being moved. */
  presence(uuid: string): Promise<Presence>;
  /** Keeps what the cluster knows of a domain up to date. */
  noteDomain(uuid: string): Promise<void>;
  /** One change of a domain, and one of a volume's use, at a time. */
  queue: KeyedSerial;
  log: Log;
};
