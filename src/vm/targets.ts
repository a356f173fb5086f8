/** The names of disks in a domain. Pure. */
import { HyperscaleError } from '../errors.ts';
import type { DiskBus } from '../libvirt/disk-xml.ts';

const prefixes: Record<DiskBus, string> = {
  virtio: 'vd',
  scsi: 'sd',
  sata: 'sd',
  usb: 'sd',
  ide: 'hd',
};

/** The first name of a disk on that bus which no disk has: vda, …, vdz, vdaa, … */
export function freeTarget(taken: readonly string[], bus: DiskBus): string {
  for (let index = 0; ; index += 1) {
    const name = `${prefixes[bus]}${letters(index)}`;
    if (!taken.includes(name)) return name;
  }
}

/** @throws `conflict` when another disk of the domain has the name */
export function mustBeFree(target: string, taken: readonly string[], vm: string): void {
  if (!taken.includes(target)) return;
  throw new HyperscaleError('conflict', `domain '${vm}' has another disk ${target}`, {
    hint: 'Choose another name with --target, or none for the first free one.',
    values: { vm, target, taken },
  });
}

/** 0 is a, 25 is z, 26 is aa, as libvirt and Linux count. */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : `${letters(Math.floor(index / 26) - 1)}${last}`;
}
