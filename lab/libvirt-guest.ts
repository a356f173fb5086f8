/** A real virtual machine under the libvirt of a lab, that tells what it sees and writes. */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildGuestImage, type GuestImage } from '../scenario/guest/image.ts';
import { type GuestRecord, longestGap, parseRecord } from '../scenario/guest/record-log.ts';
import { HyperscaleError, isHyperscaleError } from '../src/errors.ts';
import type { LabLibvirt } from './libvirt.ts';
import { GuestConsole } from './libvirt-console.ts';
import { guestDomainXml } from './libvirt-domain.ts';

const cache = process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale';

/** Finding out which kernel is current takes apt seconds; once a process will do. */
let image: Promise<GuestImage> | undefined;

/** From the start to userland, an emulated guest takes 4 s alone on two cores. */
const bootWithinMs = 180_000;

export type LabGuestOptions = {
  name: string;
  /** A directory of its own; on one machine, so all nodes see it. */
  directory: string;
  /**
   * `record`: `vda` gets a file system and records, as in the demo; every other disk gets counter
   * blocks. `idle` (default): every disk gets counter blocks, `vda` as well.
   */
  mode?: 'record' | 'idle';
  /** Disk elements of its definition, as libvirt's XML. */
  disks?: string[];
  /** Other devices of its definition, as libvirt's XML; a virtio-scsi controller is always there. */
  devices?: string[];
  /** Pause between two records or counter blocks of a disk, in milliseconds; default 20. */
  pauseMs?: number;
  /** Kernel arguments in addition, such as `acpi=off` for a guest that ignores hot plugging. */
  kernelArguments?: string;
};

/** A disk as the guest sees it. virtio shows the first 20 characters of a serial number. */
export type SeenDisk = { name: string; bytes: number; serial: string };

/**
 * A guest with counters on its disks (scenario/guest/init.sh and watch.sh).
 *
 * ```ts
 * const guest = await LabGuest.create({ name: 'web1', directory, disks: [diskXml(config)] });
 * await guest.start(libvirt);
 * await guest.counted('vda', 20);
 * ```
 */
export class LabGuest {
  readonly name: string;
  readonly uuid = randomUUID();
  readonly console: GuestConsole;
  /** What its kernel says. */
  readonly kernelConsole: GuestConsole;
  /** Its definition, as given to libvirt. */
  readonly xml: string;
  readonly records: GuestRecord[] = [];

  private constructor(options: LabGuestOptions, bootable: GuestImage) {
    mkdirSync(options.directory, { recursive: true });
    this.name = options.name;
    this.console = new GuestConsole(join(options.directory, 'console.log'));
    this.kernelConsole = new GuestConsole(join(options.directory, 'kernel.log'));
    this.console.events.on('line', ({ text, atMs }) => {
      const record = parseRecord(text, atMs);
      if (record !== undefined) this.records.push(record);
    });
    this.xml = guestDomainXml({
      ...options,
      image: bootable,
      uuid: this.uuid,
      consoles: [this.console.path, this.kernelConsole.path],
    });
  }

  /** Makes the image when it is not cached, and the definition; starts nothing. */
  static async create(options: LabGuestOptions): Promise<LabGuest> {
    image ??= buildGuestImage(cache);
    return new LabGuest(options, await image);
  }

  /** Defines and starts it on a node; only for as long as it runs when `transient`. */
  async start(libvirt: LabLibvirt, options: { transient?: boolean } = {}): Promise<void> {
    const from = { stdin: this.xml, timeoutMs: 60_000 };
    if (options.transient === true) {
      await libvirt.virsh.run(['create', '--file', '/dev/stdin'], from);
      return;
    }
    await libvirt.virsh.run(['define', '--file', '/dev/stdin'], from);
    await libvirt.virsh.run(['start', '--domain', this.name], { timeoutMs: 60_000 });
  }

  /** Ends it at once, as pulling its plug, and forgets its definition; succeeds when it is not there. */
  async destroy(libvirt: LabLibvirt): Promise<void> {
    for (const command of ['destroy', 'undefine']) {
      try {
        await libvirt.virsh.run([command, '--domain', this.name]);
      } catch (error) {
        if (!isHyperscaleError(error, 'libvirt', 'not-found')) throw error;
      }
    }
  }

  /** Stops following its consoles. */
  close(): void {
    this.console.close();
    this.kernelConsole.close();
  }

  /** The identity of its newest boot, waiting for its userland. */
  async bootId(timeoutMs = bootWithinMs): Promise<string> {
    const match = await this.console.until(
      'boot id',
      () => this.console.last(/^HS-BOOTID (\S+)$/),
      timeoutMs,
    );
    return match[1] ?? '';
  }

  /** The boot ids of all its boots so far, oldest first: a guest that only moved has one. */
  get bootIds(): string[] {
    return this.console.lines.flatMap(({ text }) => /^HS-BOOTID (\S+)$/.exec(text)?.[1] ?? []);
  }

  /** The disks that it sees. */
  get disks(): SeenDisk[] {
    const [, list = ''] = this.console.last(/^HS-DISKS(.*)$/) ?? [];
    return list
      .split(' ')
      .filter((entry) => entry !== '')
      .map((entry) => {
        const [name = '', bytes = '', serial = ''] = entry.split(':');
        return { name, bytes: Number(bytes), serial };
      });
  }

  /** Waits until its disks are as `wanted` says, and returns them. */
  async disksWhen(
    wanted: (disks: SeenDisk[]) => boolean,
    timeoutMs = bootWithinMs,
  ): Promise<SeenDisk[]> {
    const probe = (): SeenDisk[] | undefined => {
      const { disks } = this;
      return this.console.last(/^HS-DISKS/) !== undefined && wanted(disks) ? disks : undefined;
    };
    return this.console.until('such disks', probe, timeoutMs);
  }

  /** The newest counter that it has written to a disk and read back; 0 when there is none. */
  count(disk: string): number {
    return Number(this.console.last(new RegExp(`^HS-COUNT ${disk} (\\d+)$`))?.[1] ?? 0);
  }

  /** Waits until it has written `more` counter blocks to a disk after now; returns the newest. */
  async counted(disk: string, more: number, timeoutMs = bootWithinMs): Promise<number> {
    const { length } = this.console.lines;
    const pattern = new RegExp(`^HS-COUNT ${disk} (\\d+)$`);
    return this.console.until(
      `${more} counters on ${disk}`,
      () => {
        const found = this.console.lines.slice(length).filter(({ text }) => pattern.test(text));
        return found.length >= more ? this.count(disk) : undefined;
      },
      timeoutMs,
    );
  }

  /** The newest counter that the newest boot found on a disk, before it wrote there. */
  async found(disk: string, timeoutMs = bootWithinMs): Promise<number> {
    const pattern = new RegExp(`^(?:HS-BOOTID .*|HS-FOUND ${disk} (\\d+))$`);
    const probe = (): string | undefined => this.console.last(pattern)?.[1];
    return Number(await this.console.until(`word of what is on ${disk}`, probe, timeoutMs));
  }

  /** Waits for `more` records after now (mode `record`). */
  async recorded(more: number, timeoutMs = bootWithinMs): Promise<GuestRecord> {
    const index = this.records.length + more - 1;
    return this.console.until(`${more} records`, () => this.records[index], timeoutMs);
  }

  /** The longest time without a record, in seconds; see `longestGap` of the demo's guest. */
  longestGap(sinceMs: number, untilMs = performance.now()): number {
    return longestGap(this.records, sinceMs, untilMs);
  }

  /** The longest time without a counter block on a disk between two moments, in seconds. */
  longestCountGap(disk: string, sinceMs: number, untilMs = performance.now()): number {
    const pattern = new RegExp(`^HS-COUNT ${disk} (\\d+)$`);
    const counts = this.console.lines
      .filter(({ text }) => pattern.test(text))
      .map(({ text, atMs }) => ({
        n: Number(pattern.exec(text)?.[1]),
        checksum: 0,
        guestCentiseconds: 0,
        hostTimeMs: atMs,
      }));
    return longestGap(counts, sinceMs, untilMs);
  }

  /** What went wrong inside: failed or false reads and writes, errors that its kernel reported. */
  get troubles(): string[] {
    const ofPrograms = /^HS-(LOST|IOERROR|FATAL|CORRUPT)/;
    const ofKernel = /I\/O error|EXT4-fs error|[Aa]borting journal|Remounting filesystem read-only/;
    return [
      ...this.console.lines.filter(({ text }) => ofPrograms.test(text)),
      ...this.kernelConsole.lines.filter(({ text }) => ofKernel.test(text)),
    ].map(({ text }) => text);
  }

  /** @throws HyperscaleError `engine` when anything went wrong inside */
  assertNoTrouble(): void {
    const [first, ...others] = this.troubles;
    if (first === undefined) return;
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    throw new HyperscaleError('engine', `guest '${this.name}' said: ${first}${more}`);
  }
}
