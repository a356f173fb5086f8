/** Guests under libvirt that write all the time, for the tests that move them between nodes. */
import { join } from 'node:path';
import { expect } from 'vitest';
import type { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import { Guest, lostRecords } from '../../scenario/guest/guest.ts';
import { buildGuestImage } from '../../scenario/guest/image.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import type { TestCluster } from './fixture.ts';
import type { TestVolume, VolumeState } from './fixture-volume.ts';

const mib = 1 << 20;
const cache = process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale';
const targets = ['vda', 'vdb', 'vdc', 'vdd'];

export type Moving = { guest: LabGuest; volumes: TestVolume[] };

/** A running guest with a boot volume for records, and data volumes for counter blocks. */
export async function startMoving(
  cluster: TestCluster,
  libvirt: LabLibvirt,
  name: string,
  options: { dataVolumes?: number; pauseMs?: number } = {},
): Promise<Moving> {
  const { dataVolumes = 0, pauseMs = 20 } = options;
  const via = libvirt.node.name;
  const volumes: TestVolume[] = [];
  const disks: string[] = [];
  for (const [at, target] of targets.slice(0, dataVolumes + 1).entries()) {
    const volume = await cluster.createVolume('Silver', {
      name: at === 0 ? name : `${name}-data${at}`,
      sizeBytes: 32 * mib,
      via,
    });
    const { socket, session } = await volume.attach(via);
    const source = { type: 'network', socket, export: session } as const;
    disks.push(diskXml({ source, serial: volume.id, target, bus: 'virtio' }));
    volumes.push(volume);
  }
  const directory = join(cluster.lab.directory, `guest-${name}`);
  const guest = await LabGuest.create({ name, directory, mode: 'record', disks, pauseMs });
  cluster.atEnd(() => guest.close());
  await guest.start(libvirt);
  return { guest, volumes };
}

/** Resolves once it writes to all of its disks. */
export async function writesOn({ guest, volumes }: Moving, more = 5): Promise<void> {
  await Promise.all([
    guest.recorded(more),
    ...targets.slice(1, volumes.length).map((disk) => guest.counted(disk, more)),
  ]);
}

/** Resolves once every volume is attached on this node alone, and served by it. */
export async function onlyOn({ volumes }: Moving, node: string, via = node): Promise<void> {
  const isThere = ({ attachments, head }: VolumeState) =>
    attachments.map((a) => a.host).join() === node && head === node;
  await Promise.all(volumes.map((volume) => volume.waitFor(isThere, 60_000, via)));
}

/** Reads everything back that the guest ever reported; it must not run any more. */
export async function expectNothingLost(
  cluster: TestCluster,
  { guest, volumes }: Moving,
  node: string,
): Promise<void> {
  guest.assertNoTrouble();
  const [boot] = volumes;
  if (boot === undefined) throw new Error('a guest has a boot volume');
  const uri = await boot.attach(node);
  const reader = await Guest.start({
    image: await buildGuestImage(cache),
    uri: { socket: uri.socket, export: uri.session },
    mode: 'verify',
    serial: boot.id,
    directory: join(cluster.lab.directory, `verify-${guest.name}`),
  });
  const verification = await reader.verification(90_000);
  expect(verification).toMatchObject({ intact: true });
  expect(lostRecords(guest.records, verification)).toEqual([]);
}

/** The longest time in which the guest acknowledged no record, as text for the test's output. */
export function stallText({ guest, volumes }: Moving, since: number, until: number): string {
  const gaps = targets
    .slice(1, volumes.length)
    .map((disk) => `${disk} ${guest.longestCountGap(disk, since, until).toFixed(2)} s`);
  return [`vda ${guest.longestGap(since, until).toFixed(2)} s`, ...gaps].join(', ');
}
