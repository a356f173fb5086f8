/**
 * One server with a root and a data volume through its life: what every deployment does. The guest
 * writes to both disks all the time, reads back what it wrote, and complains on its console.
 */
import { afterAll, expect, test } from 'vitest';
import { found, lastBeat, untilWrites } from './guest.ts';
import { nothingLeft } from './residue.ts';
import {
  boot,
  deleteServers,
  deleteVolumes,
  hscli,
  makeVolume,
  on,
  os,
  otherHost,
  powerCut,
  powerOn,
  run,
  server,
  until,
  untilServer,
  untilVolume,
} from './stack.ts';

const gibSectors = 2 ** 30 / 512;
const vm = 'core';
const root = 'core-root';
const data = 'core-data';
let dataId = '';

afterAll(async () => {
  // Only what a test that failed has left.
  await run('server', 'delete', '--wait', vm).catch(() => undefined);
  await run('volume', 'delete', root, data).catch(() => undefined);
});

test('a server boots from a volume that was made of an image', async () => {
  await makeVolume(root, '--type', 'hyperscale', '--size', '1', '--image', 'tiny', '--bootable');
  dataId = await makeVolume(data, '--type', 'hyperscale', '--size', '1');
  await boot(vm, root);
  const beat = await untilWrites(vm, ({ disks }) => disks.vda === gibSectors);
  expect(Object.keys(beat.disks)).toEqual(['vda']);
});

test('it gets a second volume while it runs', async () => {
  await run('server', 'add', 'volume', vm, data);
  await untilVolume(data, 'in-use');
  await untilWrites(vm, ({ disks }) => disks.vdb === gibSectors);
});

test('the guest sees at once that its volume has grown', async () => {
  await run('volume', 'set', '--size', '2', data);
  await untilWrites(vm, ({ disks }) => disks.vdb === 2 * gibSectors);
  await untilVolume(data, 'in-use');
});

test('it is stopped and started', async () => {
  const before = await untilWrites(vm);
  await run('server', 'stop', vm);
  const host = await untilServer(vm, 'SHUTOFF');
  await run('server', 'start', vm);
  expect(await untilServer(vm, 'ACTIVE')).toBe(host);
  const after = await untilWrites(vm, ({ boot: id }) => id !== before.boot);
  expect(after.disks).toEqual({ vda: gibSectors, vdb: 2 * gibSectors });
  expect(await found(vm, 'vdb')).toContain(before.boot);
});

test('it is rebooted hard', async () => {
  const before = await untilWrites(vm);
  await run('server', 'reboot', '--hard', '--wait', vm);
  await untilWrites(vm, ({ boot: id }) => id !== before.boot);
  expect(await found(vm, 'vdb')).toContain(before.boot);
});

test('it is moved to the other host and back while it runs', async () => {
  const before = await untilWrites(vm);
  const home = await untilServer(vm, 'ACTIVE');
  for (const to of [await otherHost(home), home]) {
    await run('server', 'migrate', '--live-migration', '--host', to, '--wait', vm);
    expect(await untilServer(vm, 'ACTIVE')).toBe(to);
    await untilWrites(vm, ({ boot: id }) => id === before.boot);
    await untilAttachedOnlyOn(to);
  }
  const { longestSeconds } = await untilWrites(vm);
  console.log(`longest write of the guest, with flush and read: ${longestSeconds} s`);
});

test('a move that fails leaves it where it was', async () => {
  const before = await untilWrites(vm);
  const home = await untilServer(vm, 'ACTIVE');
  const away = await otherHost(home);
  const rule = ['INPUT', '-p', 'tcp', '--dport', '49152:49215', '-j', 'REJECT'];
  await on(away, 'iptables', '-A', ...rule);
  try {
    await run('server', 'migrate', '--live-migration', '--host', away, vm);
    await until('the migration has not failed', async () => {
      const all = await os<{ Status: string; 'Dest Host'?: string }[]>(
        ...['server', 'migration', 'list', '--server', vm],
      );
      return all.some(({ Status }) => Status === 'error' || Status === 'failed') ? true : undefined;
    });
  } finally {
    await on(away, 'iptables', '-D', ...rule);
  }
  expect(await untilServer(vm, 'ACTIVE')).toBe(home);
  await untilWrites(vm, ({ boot: id }) => id === before.boot);
  await untilAttachedOnlyOn(home);
});

test('it is evacuated from a host that lost its power, which then comes back', async () => {
  const before = await untilWrites(vm);
  const dead = await untilServer(vm, 'ACTIVE');
  const alive = await otherHost(dead);
  await powerCut(dead);
  try {
    // Clients before 6.1 report a failure of their own after the request was accepted.
    await run('server', 'evacuate', vm).catch(() => undefined);
    await until('the server is not evacuated', async () =>
      (await server(vm)).host === alive ? true : undefined,
    );
    await untilServer(vm, 'ACTIVE');
    await untilWrites(vm, ({ boot: id }) => id !== before.boot);
    expect(await found(vm, 'vdb')).toContain(before.boot);
  } finally {
    await powerOn(dead);
  }
  await untilAttachedOnlyOn(alive);
  await until(`${dead} still has the server`, async () =>
    (await on(dead, 'virsh', 'list', '--all', '--name')).trim() === '' ? true : undefined,
  );
});

test('the volume is detached, and has what the guest wrote when it is attached again', async () => {
  const before = await untilWrites(vm);
  await run('server', 'remove', 'volume', vm, data);
  await untilVolume(data, 'available');
  await untilWrites(vm, ({ disks }) => !('vdb' in disks));
  await run('server', 'add', 'volume', vm, data);
  await untilWrites(vm, ({ disks }) => 'vdb' in disks);
  expect(await found(vm, 'vdb')).toContain(before.boot);
  await run('server', 'remove', 'volume', vm, data);
  await untilVolume(data, 'available');
});

test('nothing is left when the server and the volumes are deleted', async () => {
  expect(await lastBeat(vm)).toBeDefined();
  await deleteServers(vm);
  await untilVolume(root, 'available');
  await nothingLeft();
  await deleteVolumes(root, data);
  await nothingLeft();
});

/** The head follows a guest, and the old host's attachment ends, soon after it has moved. */
async function untilAttachedOnlyOn(host: string): Promise<void> {
  await until(`the data volume is not attached on ${host} alone`, async () => {
    type Shown = { attachments: { host: string }[] };
    const { attachments } = await hscli<Shown>('ctl', 'volume', 'show', `volume-${dataId}`);
    return attachments.map((a) => a.host).join() === host ? true : undefined;
  });
}
