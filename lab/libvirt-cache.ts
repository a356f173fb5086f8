/**
 * What libvirtd has found out about this machine's QEMU, kept between labs: finding it out takes
 * seconds of every first start. libvirt itself sees when it is out of date.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const cache = process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale';
const kept = join(cache, 'libvirt-capabilities');

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith('.xml'));
  } catch {
    return [];
  }
}

/** Appears by a rename: another lab may read it meanwhile. */
function copyFiles(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const there = filesOf(to);
  for (const name of filesOf(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    if (there.includes(name) && readFileSync(source).equals(readFileSync(target))) continue;
    const temporary = `${target}.${process.pid}`;
    copyFileSync(source, temporary);
    renameSync(temporary, target);
  }
}

/** Gives a libvirtd that is about to start what others found out; `place` is its cache directory. */
export function recallCapabilities(place: string): void {
  copyFiles(kept, join(place, 'qemu', 'capabilities'));
}

/** Keeps what a libvirtd has found out. */
export function keepCapabilities(place: string): void {
  copyFiles(join(place, 'qemu', 'capabilities'), kept);
}
