/** A disk that fails under guests: they stop at most for a while, and lose nothing. */
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { LabDisk } from '../../lab/disk.ts';
import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import { mib, sharedCluster } from './fixture.ts';
import { members, type TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3', start: false });

let disk: LabDisk;
let libvirt: LabLibvirt;

beforeAll(async () => {
  const { lab } = cluster;
  const n1 = cluster.node('n1');
  disk = await LabDisk.create({
    directory: join(lab.directory, 'disk'),
    mountPoint: n1.poolDirectory,
    sizeBytes: 1024 * mib,
    journal: false,
  });
  cluster.atEnd(async () => {
    // It goes when nobody uses it any more.
    await n1.powerCut();
    await disk.destroy();
  });
  await Promise.all([
    lab.start('n3'),
    LabLibvirt.start(n1).then((started) => {
      libvirt = started;
    }),
  ]);
});

/** A guest on n1 that writes to the volume all the time. */
async function guestOn(volume: TestVolume): Promise<LabGuest> {
  const { socket, session } = await volume.attach('n1');
  const source = { type: 'network', socket, export: session } as const;
  const guest = await LabGuest.create({
    name: volume.name,
    directory: join(cluster.lab.directory, volume.name),
    disks: [diskXml({ source, serial: volume.id, target: 'vda', bus: 'virtio' })],
  });
  cluster.atEnd(async () => {
    guest.close();
    await guest.destroy(libvirt);
  });
  await guest.start(libvirt);
  return guest;
}

const state = async (guest: LabGuest) =>
  (await libvirt.virsh.run(['domstate', '--reason', '--domain', guest.name])).trim();

async function told(volume: TestVolume, type: string): Promise<string[]> {
  const events = await cluster.events('n1', volume);
  return events.filter((event) => event.type === type).map((event) => event.text);
}

test('with reflections a guest goes on while the disk fails; without, as soon as it is mended', async () => {
  const silver = await cluster.createVolume('Silver', { name: 'silver' });
  const bronze = await cluster.createVolume('Bronze', { name: 'bronze' });
  const [safe, bare] = await Promise.all([guestOn(silver), guestOn(bronze)]);
  await Promise.all([safe.counted('vda', 3), bare.counted('vda', 3)]);
  expect(members(await silver.show('n1'))).toContain('n1');

  const since = performance.now();
  await disk.setFaults({ errors: ['write', 'flush'] });
  await safe.counted('vda', 10);
  const goesOn = await silver.waitFor(({ servesFor }) => servesFor === 'n1', 60_000, 'n1');
  expect(members(goesOn)).not.toContain('n1');
  expect(safe.longestCountGap('vda', since)).toBeLessThan(20);
  await expect.poll(() => told(silver, 'volume.handed-over')).toHaveLength(1);

  await expect
    .poll(() => state(bare), { timeout: 60_000 })
    .toMatch(/^paused \((I\/O error|unknown)\)$/);
  await expect.poll(() => told(bronze, 'vm.stopped'), { timeout: 60_000 }).toHaveLength(1);
  const before = bare.count('vda');

  // The next daemon finds it by itself, and leaves alone what somebody else has paused.
  await cluster.node('n1').killDaemon();
  await libvirt.virsh.run(['suspend', '--domain', safe.name]);
  await disk.setFaults({});
  await cluster.node('n1').start();
  await bare.counted('vda', 10);
  await expect.poll(() => told(bronze, 'vm.resumed'), { timeout: 60_000 }).toHaveLength(1);
  expect(bare.count('vda')).toBeGreaterThan(before);
  expect(await state(safe)).toBe('paused (user)');
  await libvirt.virsh.run(['resume', '--domain', safe.name]);
  await safe.counted('vda', 3);
  for (const guest of [safe, bare]) guest.assertNoTrouble();
  expect([safe.bootIds.length, bare.bootIds.length]).toEqual([1, 1]);

  // Where the head stood in, it leaves with the guest.
  await safe.destroy(libvirt);
  await silver.detach('n1');
  // The detach waits for the guest's session on n3, not for the head that has nobody left.
  const left = await silver.waitFor(({ head }) => head === null, 60_000, 'n1');
  expect(left).toMatchObject({ attachments: [], servesFor: null });
  await silver.expectIdenticalCopies();
});
