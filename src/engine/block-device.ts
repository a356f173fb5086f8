import { readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HyperscaleError } from '../errors.ts';
import type { SessionId, VolumeId } from '../volume/types.ts';
import type { BlockDeviceFiles } from './block-device-files.ts';
import type { BlockDeviceLinks } from './block-device-links.ts';
import { attribute, findLoops, removeLoop, resizeLoop } from './block-device-loop.ts';
import { unmount } from './block-device-mount.ts';
import { deviceUsers, userText } from './block-device-users.ts';
import { runTool } from './run-tool.ts';

/** A device belongs to one attachment session of this host. */
export type BlockDeviceSpec = { volume: VolumeId; session: SessionId };

/** Programs that only look at new and changed devices (udev) are gone after this time. */
const passersByMs = 1_000;
const lookEveryMs = 50;
/** Of the sizes that the kernel shows. */
const sectorBytes = 512;
const resizeTimeoutMs = 5_000;

/** The process that shows the attachment as a file. */
export type DeviceProcess = {
  readonly ended: Promise<void>;
  kill(): Promise<void>;
  /** A command of QMP. */
  execute(
    command: string,
    args: Record<string, unknown>,
    options: { timeoutMs: number },
  ): Promise<unknown>;
};

/**
 * A block device of this host for an attachment: loop device over a file that a process shows by FUSE,
 * which is an NBD client of the attachment's socket. It stays while heads, proxies and daemons come and
 * go; without its process it only answers errors and cannot be revived.
 */
export class BlockDevice {
  readonly spec: BlockDeviceSpec;
  /** `/dev/loopN`; the number says nothing of whose it is. */
  readonly path: string;
  readonly #files: BlockDeviceFiles;
  readonly #links: BlockDeviceLinks;
  readonly #process: DeviceProcess;
  #ending = false;
  #ended = false;

  constructor(
    spec: BlockDeviceSpec,
    path: string,
    parts: { files: BlockDeviceFiles; links: BlockDeviceLinks; process: DeviceProcess },
  ) {
    this.spec = spec;
    this.path = path;
    this.#files = parts.files;
    this.#links = parts.links;
    this.#process = parts.process;
    const ended = () => {
      this.#ended = true;
    };
    this.#process.ended.then(ended, ended);
  }

  get name(): string {
    return this.#files.name;
  }

  /** True while its process runs and its loop device is the one that was made for it. */
  stands(): boolean {
    return !this.#ended && loopsOver(this.#files).some(({ path }) => path === this.path);
  }

  /** The link to it under a name that somebody chose, if there is one. */
  link(): string | null {
    return this.#links.to(this.#files.link)[0] ?? null;
  }

  /**
   * Makes the link under a name.
   * @throws `exists` when the name is taken, `conflict` when the device has a link of another name
   */
  makeLink(name: string, isLive: (target: string) => boolean): string {
    const before = this.link();
    if (before !== null && basename(before) !== name) {
      throw new HyperscaleError('conflict', `${this.path} has the link ${before} already`, {
        hint: 'A device has one link. Remove the device first to give it another one.',
        values: { device: this.path, link: before },
      });
    }
    return this.#links.make(name, this.#files.link, isLive);
  }

  /** Where its links lead to. */
  get target(): string {
    return this.#files.link;
  }

  /** Calls `listener` when its process ended without being asked to, at once when it has. */
  onExit(listener: () => void): void {
    const exited = () => {
      if (!this.#ending) listener();
    };
    this.#process.ended.then(exited, exited);
  }

  /**
   * Lets it have the size that its attachment shows by now.
   * @throws `timeout` when its process waits for a head, `engine`
   */
  async resize(sizeBytes: number): Promise<void> {
    const sectors = Number(attribute(this.path, 'size') ?? 0);
    if (sectors * sectorBytes >= sizeBytes) return;
    const loop = { path: this.path, file: this.#files.image };
    // QEMU learns of the size with the first request after it has connected anew.
    await runTool('dd', [`if=${this.path}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']);
    const timeoutMs = resizeTimeoutMs;
    const arguments_ = { 'node-name': 'top', size: sizeBytes };
    await this.#process.execute('block_resize', arguments_, { timeoutMs });
    await resizeLoop(loop, this.#files.name, sizeBytes);
  }

  /** Takes it away, when nobody uses it. @throws `in-use` with who does; then it is as it was */
  async remove(): Promise<void> {
    await this.#mustBeFree();
    const names = this.#links.to(this.#files.link);
    removeLinks(this.#files, this.#links);
    const loop = { path: this.path, file: this.#files.image };
    if (!(await removeLoop(loop, this.#files.name, false))) {
      // Somebody opened it in this very moment.
      showLoop(this.#files, this.path);
      for (const path of names) this.#links.make(basename(path), this.#files.link, () => true);
      await this.#mustBeFree();
      throw this.#inUse(['somebody who cannot be named']);
    }
    await this.kill();
  }

  /**
   * Ends its process: from then on whoever has it open gets errors, and nothing reaches the volume.
   * Then takes everything away that can be.
   */
  async kill(): Promise<void> {
    await this.stop();
    await release(this.#files, this.#links);
  }

  /** Only ends the process, at once; needs nobody's patience. */
  async stop(): Promise<void> {
    this.#ending = true;
    await this.#process.kill();
  }

  async #mustBeFree(): Promise<void> {
    const deadline = performance.now() + passersByMs;
    for (;;) {
      const users = await deviceUsers(this.path);
      if (users.length === 0) return;
      if (performance.now() > deadline) throw this.#inUse(users.map(userText), users);
      await delay(lookEveryMs);
    }
  }

  #inUse(names: string[], users: object[] = []): HyperscaleError {
    return new HyperscaleError('in-use', `${this.path} is in use by ${names.join(', ')}`, {
      hint: 'End its use (umount, close), or use --force: then its users get I/O errors.',
      values: { device: this.path, volume: this.spec.volume, users },
    });
  }
}

/**
 * Takes away what there is of a device whose process is gone; in an order that lets no link lead to a
 * loop device that is free for other files. Can be repeated after a crash at any point.
 */
export async function release(files: BlockDeviceFiles, links: BlockDeviceLinks): Promise<void> {
  removeLinks(files, links);
  for (const loop of loopsOver(files)) await removeLoop(loop, files.name, true);
  await unmount(files.image);
  rmSync(files.image, { force: true });
}

/** The loop devices over a device's file; one at most, unless a start was cut short. */
export function loopsOver(files: BlockDeviceFiles) {
  return findLoops((file) => file === files.image);
}

/** Makes the link within the run directory, through which all others lead. */
export function showLoop(files: BlockDeviceFiles, path: string): void {
  if (readLink(files.link) === path) return;
  const temporary = `${files.link}~`;
  rmSync(temporary, { force: true });
  symlinkSync(path, temporary);
  renameSync(temporary, files.link);
}

/** An empty file to be mounted on. */
export function makeImage(files: BlockDeviceFiles): void {
  writeFileSync(files.image, '', { mode: 0o600, flag: 'wx' });
}

function removeLinks(files: BlockDeviceFiles, links: BlockDeviceLinks): void {
  links.removeUnless((target) => target !== files.link);
  rmSync(files.link, { force: true });
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
