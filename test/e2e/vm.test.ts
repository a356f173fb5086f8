import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import type { VmDiskAnswer, VmListAnswer } from '../../src/api/vm-schemas.ts';
import { errorText } from '../../src/errors.ts';
import { diskOn, readDomain } from '../../src/libvirt/domain.ts';
import { mib, sharedCluster } from './fixture.ts';
import type { TestVolume } from './fixture-volume.ts';

const shared = sharedCluster({ nodes: ['n1', 'n2'] });
let libvirt: LabLibvirt;
let guest: LabGuest;

type Refusal = { code: string; detail: string; values: Record<string, unknown> };
type Detail = { attachments: { host: string }[] };

async function attach(node: string, vm: string, volume: TestVolume, more: object = {}) {
  const path = `/v1/vms/${vm}/disks`;
  return shared.node(node).api.call<VmDiskAnswer>('POST', path, { volume: volume.name, ...more });
}

async function detach(node: string, vm: string, volume: TestVolume) {
  const path = `/v1/vms/${vm}/disks/${volume.name}?guestSeconds=60`;
  return shared.node(node).api.call<VmDiskAnswer>('DELETE', path);
}

async function refusal(node: string, method: 'POST' | 'DELETE', path: string, body?: object) {
  const answer = await shared.node(node).api.request<Refusal>(method, path, body);
  expect(answer.status, JSON.stringify(answer.body)).toBeGreaterThanOrEqual(400);
  return answer.body;
}

/** Where the volume is attached, as the node that has just changed it says. */
async function hosts(volume: TestVolume): Promise<string[]> {
  const path = `/v1/volumes/${volume.name}`;
  const { attachments } = await shared.node('n1').api.call<Detail>('GET', path);
  return attachments.map(({ host }) => host);
}

async function hasDisk(uuid: string, volume: TestVolume) {
  const { live, config } = await readDomain(libvirt.virsh, uuid);
  const has = (xml: string | null) => diskOn(xml, volume.id) !== undefined;
  return { live: has(live), config: has(config) };
}

/** A domain that is defined and never started. */
async function defined(on: LabLibvirt, name: string): Promise<LabGuest> {
  const made = await LabGuest.create({ name, directory: join(shared.lab.directory, name) });
  shared.atEnd(() => made.close());
  await on.virsh.run(['define', '--file', '/dev/stdin'], { stdin: made.xml });
  return made;
}

beforeAll(async () => {
  libvirt = await LabLibvirt.start(shared.node('n1'));
  guest = await LabGuest.create({
    name: 'web 1',
    directory: join(shared.lab.directory, 'web1'),
    pauseMs: 200,
  });
  shared.atEnd(() => guest.close());
  await guest.start(libvirt);
});

test('what is not there is said, and where there is no libvirt as well', async () => {
  const volume = await shared.createVolume('Bronze');
  const body = { volume: volume.name };
  const noVm = await refusal('n1', 'POST', '/v1/vms/nope/disks', body);
  expect(noVm).toMatchObject({ code: 'not-found' });
  const noVolume = await refusal('n1', 'POST', '/v1/vms/web1/disks', { volume: 'nope' });
  expect(noVolume).toMatchObject({ code: 'not-found' });
  await expect(shared.node('n2').hscli('vm', 'list')).rejects.toThrow(/"unavailable"/);
});

describe('a running guest', () => {
  const vm = encodeURIComponent('web 1');

  test('gets a volume, keeps it to itself, and gives it back', async () => {
    const volume = await shared.createVolume('Silver');
    await guest.bootId();
    // Both at once, and through a node that has no libvirt of its own.
    const both = await Promise.all([attach('n2', vm, volume), attach('n1', guest.uuid, volume)]);
    expect(both.map(({ changed }) => changed).sort()).toEqual([false, true]);
    expect(both[0]).toMatchObject({ node: 'n1', vm: 'web 1', disk: { target: 'vda', live: true } });

    const seen = { name: 'vda', bytes: 64 * mib, serial: volume.id.slice(0, 20) };
    expect(await guest.disksWhen((disks) => disks.length > 0)).toEqual([seen]);
    await guest.counted('vda', 3);
    const { vms } = await shared.node('n2').hscli<VmListAnswer>('vm', 'list', '--cluster');
    expect(vms).toMatchObject([
      {
        node: 'n1',
        state: 'running',
        disks: [{ name: volume.name, live: true, persistent: true }],
      },
    ]);

    const second = await LabLibvirt.start(shared.node('n2'));
    const other = await defined(second, 'web2');
    const inUse = await refusal('n1', 'POST', '/v1/vms/web2/disks', { volume: volume.name });
    expect(inUse).toMatchObject({ code: 'in-use', values: { hosts: ['n1'], vm: 'web 1' } });
    const neighbour = await defined(libvirt, 'web3');
    const here = await refusal('n1', 'POST', '/v1/vms/web3/disks', { volume: volume.name });
    expect(here).toMatchObject({ code: 'in-use', values: { hosts: ['n1'], vm: 'web 1' } });

    expect(await detach('n2', vm, volume)).toMatchObject({ changed: true });
    expect(await hasDisk(guest.uuid, volume)).toEqual({ live: false, config: false });
    expect(await hosts(volume)).toEqual([]);
    expect(await guest.disksWhen((disks) => disks.length === 0)).toEqual([]);
    expect(await detach('n2', vm, volume)).toMatchObject({ changed: false, notes: [] });
    guest.assertNoTrouble();

    // Two hosts at once: neither sees the other, and still only one gets it.
    const race = await Promise.allSettled([
      attach('n1', neighbour.uuid, volume),
      attach('n2', other.uuid, volume),
    ]);
    const lost = race.find((end) => end.status === 'rejected');
    expect(errorText(lost?.reason)).toContain('in-use');
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    // n2 may have got it, and the one that lost takes nothing with it.
    await expect.poll(() => hosts(volume)).toHaveLength(1);
  });

  test('that does not let go keeps the disk, and everything stays as it was', async () => {
    const volume = await shared.createVolume('Bronze');
    await guest.bootId();
    const { disk } = await attach('n1', guest.uuid, volume);
    await guest.counted(disk.target, 2);
    await libvirt.virsh.run(['suspend', '--domain', guest.uuid]);
    const path = `/v1/vms/${guest.uuid}/disks/${volume.name}?guestSeconds=1`;
    const refused = await refusal('n1', 'DELETE', path);
    expect(refused).toMatchObject({ code: 'guest-refused', values: { target: disk.target } });
    expect(refused.detail).toContain('paused');
    expect(await hasDisk(guest.uuid, volume)).toEqual({ live: true, config: true });
    expect(await hosts(volume)).toEqual(['n1']);

    // Nothing is only in the daemon's memory; and the guest lets go late, without being asked again.
    await shared.node('n1').killDaemon();
    await libvirt.virsh.run(['resume', '--domain', guest.uuid]);
    await guest.disksWhen((disks) => disks.length === 0);
    // QEMU tells libvirt a moment after the guest has let go.
    const left = () => hasDisk(guest.uuid, volume);
    await expect.poll(left).toEqual({ live: false, config: true });
    await shared.node('n1').start();
    expect(await detach('n1', guest.uuid, volume)).toMatchObject({ changed: true });
    expect(await hasDisk(guest.uuid, volume)).toEqual({ live: false, config: false });
    expect(await hosts(volume)).toEqual([]);
    guest.assertNoTrouble();
  });

  test('is left as it was when libvirt refuses the disk', async () => {
    const volume = await shared.createVolume('Bronze');
    const body = { volume: volume.name, bus: 'ide' };
    const refused = await refusal('n1', 'POST', `/v1/vms/${vm}/disks`, body);
    expect(refused).toMatchObject({ code: 'libvirt' });
    expect(await hasDisk(guest.uuid, volume)).toEqual({ live: false, config: false });
    expect(await hosts(volume)).toEqual([]);
  });
});

test('a domain that is shut off gets its disk in the definition alone', async () => {
  const volume = await shared.createVolume('Bronze');
  const domain = await defined(libvirt, 'web4');
  const alone = { volume: volume.name, persist: false };
  expect(await refusal('n1', 'POST', '/v1/vms/web4/disks', alone)).toMatchObject({
    code: 'not-allowed',
  });
  const attached = await attach('n1', 'web4', volume, { target: 'vdc', readOnly: true });
  expect(attached.disk).toMatchObject({ target: 'vdc', live: false, persistent: true });
  const xml = await libvirt.virsh.run(['dumpxml', '--domain', domain.uuid, '--inactive']);
  expect(xml).toContain('<readonly/>');
  expect(await detach('n1', 'web4', volume)).toMatchObject({ changed: true });
  expect(await hasDisk(domain.uuid, volume)).toEqual({ live: false, config: false });
  expect(await hosts(volume)).toEqual([]);
});

test("a disk for a definition of one's own is on a volume that is attached here", async () => {
  const volume = await shared.createVolume('Bronze');
  const text = await shared.node('n1').hscli<{ xml: string }>('vm', 'define-disk', volume.name);
  const domain = await defined(libvirt, 'web5');
  // It is not this domain's, so it stays as it is, and that is said.
  const untouched = await detach('n1', 'web5', volume);
  expect(untouched).toMatchObject({ changed: false, notes: [expect.stringContaining('attached')] });
  expect(await hosts(volume)).toEqual(['n1']);
  await libvirt.virsh.run(
    ['attach-device', '--domain', domain.uuid, '--file', '/dev/stdin', '--config'],
    { stdin: text.xml },
  );
  expect(await hasDisk(domain.uuid, volume)).toEqual({ live: false, config: true });
});

test('a volume that is a block device of the host is for no guest', async () => {
  const volume = await shared.createVolume('Bronze');
  await defined(libvirt, 'web6');
  const path = `/v1/volumes/${volume.name}/attachments`;
  await shared.node('n1').api.call('POST', path, { host: 'n1' });
  await shared.node('n1').api.call('PUT', `${path}/n1/device`, {});
  const refused = await refusal('n1', 'POST', '/v1/vms/web6/disks', { volume: volume.name });
  expect(refused).toMatchObject({ code: 'in-use' });
  expect(refused.detail).toContain('block device');
  await shared.node('n1').api.call('DELETE', `${path}/n1/device`);
  expect(await attach('n1', 'web6', volume)).toMatchObject({ changed: true });
});
