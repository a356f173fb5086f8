/** Names of what belongs to one block device; its token is used once (rule 17). */
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isVolumeId } from './ids.ts';

const tokenBytes = 6;
const name = /^(.{36})\.[0-9a-f]{12}$/;

/**
 * `NAME.img` is the file that a process shows by FUSE, and `NAME.dev` a link to the loop device over
 * it. Links for people lead to that link, never to the loop device: they lead nowhere as soon as it is
 * gone, before the kernel may give the loop device's number to another file, and after a reboot, which
 * empties the run directory.
 */
export class BlockDeviceFiles {
  readonly directory: string;
  /** Also the loop device's cookie, and the name of the process's run files. */
  readonly name: string;

  constructor(directory: string, deviceName: string) {
    this.directory = directory;
    this.name = deviceName;
  }

  static make(directory: string, volume: string): BlockDeviceFiles {
    const token = randomBytes(tokenBytes).toString('hex');
    return new BlockDeviceFiles(directory, `${volume}.${token}`);
  }

  get image(): string {
    return join(this.directory, `${this.name}.img`);
  }

  get link(): string {
    return join(this.directory, `${this.name}.dev`);
  }
}

/** The name of the device that a path below the directory of devices belongs to. */
export function deviceNameOf(path: string): string | undefined {
  const found = basename(path).replace(/\.(img|dev)$/, '');
  return isVolumeId(name.exec(found)?.[1] ?? '') ? found : undefined;
}

/** Names of all devices that have left anything in the directory. */
export function deviceNames(directory: string): string[] {
  const names = readdirSync(directory).map(deviceNameOf);
  return [...new Set(names.filter((found) => found !== undefined))];
}
