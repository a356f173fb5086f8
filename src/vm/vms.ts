/** What the API and other nodes ask of the part of a daemon that gives volumes to guests. */
import type { DiskBus } from '../libvirt/disk-xml.ts';
import type { NodeName, VolumeId } from '../volume/types.ts';

/** How a volume shall appear in a guest. */
export type DiskWishes = {
  /** The name in the domain (`vdb`); the first free one when absent. The guest may call it otherwise. */
  target?: string;
  /** `virtio` when absent. */
  bus?: DiskBus;
  /** Place in the order of boot devices, from 1. */
  bootOrder?: number;
  readOnly?: boolean;
};

export type VmDisk = {
  volume: VolumeId;
  /** Name of the volume. */
  name: string;
  target: string;
  bus: string;
  /** The guest has it now. */
  live: boolean;
  /** The persistent definition has it. */
  persistent: boolean;
};

/** A libvirt domain, with those of its disks that are on volumes. */
export type Vm = {
  node: NodeName;
  uuid: string;
  name: string;
  /** In libvirt's words: `running`, `paused`, `shut off`, … */
  state: string;
  /** False: its definition goes away when it stops. */
  persistent: boolean;
  disks: VmDisk[];
};

/** What came of an attach or a detach; `disk` is as it is (or was) in the domain. */
export type VmDiskChange = {
  node: NodeName;
  uuid: string;
  vm: string;
  disk: VmDisk;
  /** False when everything was as wanted already. */
  changed: boolean;
  /** What somebody may have to know, one sentence each. */
  notes: string[];
};

export type VmList = {
  vms: Vm[];
  /** Nodes that could not say what they have. */
  missing: { node: NodeName; reason: string }[];
};

/** Why a node cannot say what it has: mostly it has no libvirt. */
export type Problem = { reason: string; hint: string | null };

/** Where a domain is. */
export type VmPlace = { node: NodeName; uuid: string; name: string; active: boolean };

export interface VmDisks {
  /** Domains of this node, or of all live nodes when `cluster`. */
  list(cluster: boolean): Promise<VmList>;
  /**
   * Gives a volume to a guest (by name or UUID) wherever it runs, and resolves when it has it. A
   * domain that is shut off gets it into its definition. Again is no error.
   *
   * @param options.persist false: a running guest alone gets it, not its definition
   * @throws `in-use` when another host or guest uses the volume; `libvirt`, after which everything is
   *   as before
   */
  attach(
    vm: string,
    volume: string,
    options: DiskWishes & { persist: boolean },
    signal: AbortSignal,
  ): Promise<VmDiskChange>;
  /**
   * Takes a volume away from a guest and detaches it from the node, once the guest has let go of it.
   * A volume that the domain does not have is no error.
   *
   * @throws `guest-refused` when it does not let go within `guestMs`; then nothing has changed
   */
  detach(vm: string, volume: string, guestMs: number, signal: AbortSignal): Promise<VmDiskChange>;
  /** Attaches a volume on this node; returns the disk element for a definition of one's own. */
  defineDisk(
    volume: string,
    wishes: DiskWishes,
    signal: AbortSignal,
  ): Promise<{ node: NodeName; volume: VolumeId; name: string; xml: string }>;
  /** For other nodes. */
  readonly here: VmDisksHere;
}

/** What one node asks of another one; domains by UUID, volumes by id. */
export interface VmDisksHere {
  /** `place` is null when there is no such domain, or libvirt does not answer: then `problem` is why. */
  find(vm: string): Promise<{ place: VmPlace | null; problem: Problem | null }>;
  /** Its own domains; itself in `missing` when libvirt does not answer. */
  list(): Promise<VmList>;
  attachDisk(
    request: { uuid: string; volume: VolumeId; persist: boolean } & DiskWishes,
    signal: AbortSignal,
  ): Promise<VmDiskChange>;
  detachDisk(
    request: { uuid: string; volume: VolumeId; guestMs: number },
    signal: AbortSignal,
  ): Promise<VmDiskChange>;
}
