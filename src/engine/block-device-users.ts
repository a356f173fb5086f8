/** Who has a block device of this host open. */
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { attribute } from './block-device-loop.ts';
import { parseMountInfo } from './mount-info.ts';

export type DeviceUser =
  | { kind: 'process'; pid: number; command: string }
  | { kind: 'mount'; pid: number; point: string }
  /** A device-mapper or md device over it, e.g. `dm-0`. */
  | { kind: 'holder'; device: string }
  | { kind: 'swap' };

/** One user in words. */
export function userText(user: DeviceUser): string {
  switch (user.kind) {
    case 'process':
      return `${user.command} (pid ${user.pid})`;
    case 'mount':
      return `a file system at ${user.point} (in the mounts of pid ${user.pid})`;
    case 'holder':
      return user.device;
    case 'swap':
      return 'swap';
  }
}

/**
 * Everybody who is seen to use a device: open descriptors, mounts of every mount namespace, devices
 * over it, swap. Who has only mapped it into memory is not seen.
 */
export async function deviceUsers(path: string): Promise<DeviceUser[]> {
  const numbers = attribute(path, 'dev');
  if (numbers === undefined) return [];
  const users: DeviceUser[] = [];
  const namespaces = new Set<string>();
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const process = `/proc/${pid}`;
    if (await hasOpen(process, path, numbers)) {
      users.push({ kind: 'process', pid: Number(pid), command: await commandOf(process) });
    }
    const namespace = await readlink(join(process, 'ns/mnt')).catch(() => '');
    if (namespace === '' || namespaces.has(namespace)) continue;
    namespaces.add(namespace);
    const text = await readFile(join(process, 'mountinfo'), 'utf8').catch(() => '');
    for (const { device, point, source } of parseMountInfo(text)) {
      // Some file systems (btrfs) have a device number of their own.
      if (device === numbers || source === path)
        users.push({ kind: 'mount', pid: Number(pid), point });
    }
  }
  users.push(...holders(path), ...swaps(path));
  return users;
}

async function hasOpen(process: string, path: string, numbers: string): Promise<boolean> {
  const name = path.slice(path.lastIndexOf('/'));
  // Gone, or a kernel thread.
  for (const descriptor of await readdir(join(process, 'fd')).catch(() => [])) {
    const file = join(process, 'fd', descriptor);
    const target = await readlink(file).catch(() => '');
    // In another namespace its directory may be another one. Only such a file is asked: the file
    // system of any other may hang.
    if (!target.endsWith(name)) continue;
    const found = await stat(file).catch(() => undefined);
    if (found?.isBlockDevice() === true && numbersOf(found.rdev) === numbers) return true;
  }
  return false;
}

/** As the kernel writes the two numbers of a device (makedev(3)). */
function numbersOf(device: number): string {
  const bits = BigInt(device);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xfffff000n);
  const minor = (bits & 0xffn) | ((bits >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

async function commandOf(process: string): Promise<string> {
  const name = await readFile(join(process, 'comm'), 'utf8').catch(() => '');
  return name.trim() || 'a process';
}

function holders(path: string): DeviceUser[] {
  try {
    const directory = join('/sys/block', path.slice('/dev/'.length), 'holders');
    return readdirSync(directory).map((device) => ({ kind: 'holder', device }));
  } catch {
    return [];
  }
}

function swaps(path: string): DeviceUser[] {
  try {
    const used = readFileSync('/proc/swaps', 'utf8').split('\n');
    return used.some((line) => line.startsWith(`${path} `)) ? [{ kind: 'swap' }] : [];
  } catch {
    return [];
  }
}
