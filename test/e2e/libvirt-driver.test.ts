/** The volume driver and the connector, with real nodes, real libvirt and a guest that is not root. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import type { ConnectorOptions } from '../../src/connector/connector.ts';
import { domainDisks } from '../../src/libvirt/domain-xml.ts';
import { volumeDrivers } from '../../src/libvirt/registry.ts';
import { mib, sharedCluster } from './fixture.ts';
import { hyperscaled } from './fixture-run.ts';
import type { VolumeState } from './fixture-volume.ts';

const run = promisify(execFile);

/** libvirt's own user and group for guests on Debian. */
const group = 'libvirt-qemu';
const cluster = sharedCluster({ nodes: ['n1'], config: { attachments: { group } } });

let options: Partial<ConnectorOptions>;
let libvirt: LabLibvirt;

beforeAll(async () => {
  const n1 = cluster.node('n1');
  libvirt = await LabLibvirt.start(n1, { user: group });
  cluster.atEnd(() => libvirt.stop());
  options = {
    rootHelper: ['env', `HYPERSCALE_SOCKET=${n1.socketPath}`],
    program: join(binDirectory, 'hscli'),
    lockDirectory: join(cluster.lab.directory, 'locks'),
    deviceDirectory: join(n1.directory, 'dev'),
  };
});

const driver = () => volumeDrivers(options).driver('veritas_hyperscale');
const infoOf = (volume: string, more: object = {}) => ({
  driver_volume_type: 'veritas_hyperscale',
  data: { volume, ...more },
});
/** The path of a block device in the lab's place of /dev. */
const pathOf = (name: string) => join(cluster.node('n1').directory, 'dev', name);
const diskInfo = { dev: 'vda', bus: 'virtio', type: 'disk' };

/** Runs a program as a user that is not root, with one group. */
async function as(groupName: string, command: string[]): Promise<{ stdout: string }> {
  const [, , gid = ''] = (await run('getent', ['group', groupName])).stdout.split(':');
  const ids = ['--reuid', 'nobody', '--regid', gid, '--clear-groups'];
  return await run('setpriv', [...ids, '--', ...command], { cwd: '/', timeout: 60_000 });
}

test('the group may use an attachment, and nothing else of the node; others may not', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Bronze');
  const { socket, uri } = await volume.attach('n1');
  const io = (commands: string[]) => [
    ...['qemu-io', '-f', 'raw'],
    ...commands.flatMap((command) => ['-c', command]),
    uri,
  ];
  const { stdout } = await as(group, io(['write -P 7 0 4k', 'flush', 'read -P 7 0 4k']));
  expect(stdout).toMatch(/wrote 4096.*read 4096/s);
  await expect(as('nogroup', io(['read 0 4k']))).rejects.toThrow(/Permission denied/);
  const health = ['curl', '--silent', '--show-error', '--unix-socket', n1.socketPath, 'http://h/'];
  await expect(as(group, health)).rejects.toThrow(/ermission denied|Couldn't connect|Failed/);
  expect(statSync(socket).mode & 0o777).toBe(0o660);
  expect(statSync(dirname(socket)).mode & 0o777).toBe(0o750);
  expect(statSync(n1.socketPath).mode & 0o777).toBe(0o600);

  // Also after a head has put a new socket in its place.
  n1.kill('head');
  await expect.poll(() => as(group, io(['read -P 7 0 4k'])).then(() => 'read')).toBe('read');
  await expect(as('nogroup', io(['read 0 4k']))).rejects.toThrow(/Permission denied/);

  // What is attached follows the setting, in both directions.
  const config = readFileSync(n1.configFile, 'utf8');
  for (const [text, code] of [
    [config.replace(/group: .*/, 'group: null'), 'denied'],
    [config, 'read'],
  ] as const) {
    writeFileSync(n1.configFile, text);
    await n1.stopDaemon();
    await n1.start();
    const attempt = as(group, io(['read -P 7 0 4k']));
    expect(
      await attempt.then(
        () => 'read',
        () => 'denied',
      ),
    ).toBe(code);
  }
  await volume.detach('n1');
});

test('a group that the host does not have ends the daemon at its start', async () => {
  const n1 = cluster.node('n1');
  const file = join(n1.directory, 'etc', 'wrong.yaml');
  await run('sed', [`s/group: .*/group: no-such-group/;w ${file}`, n1.configFile]);
  const { status, stderr } = await hyperscaled(n1, ['--config', file]);
  expect(stderr).toMatch(/attachments\.group "no-such-group": this host has no such group/);
  expect(status).toBe(2);
});

test('libvirt takes the disk of every bus and source', async () => {
  const buses = ['virtio', 'scsi', 'sata', 'usb'] as const;
  const wanted = buses.flatMap((bus, index) =>
    (['network', 'block'] as const).map((mode, other) => {
      const serial = randomUUID();
      const letter = String.fromCharCode(97 + 2 * index + other);
      const target = `${bus === 'virtio' ? 'vd' : 'sd'}${letter}`;
      const path = `/dev/hyperscale-${serial}`;
      const place =
        mode === 'network' ? { socket: '/run/a.sock', session: serial } : { device_path: path };
      const qos_specs = { total_iops_sec: '500', total_iops_sec_max: '1000' };
      const access_mode = bus === 'sata' ? 'rw' : 'ro';
      const info = infoOf(serial, { mode, qos_specs, access_mode, ...place });
      const how = { dev: target, bus, boot_index: 1 + 2 * index + other };
      const source =
        mode === 'network'
          ? { type: 'network', socket: '/run/a.sock', export: serial }
          : { type: 'block', path };
      return { xml: driver().getConfig(info, how), disk: { target, bus, serial, source } };
    }),
  );
  const stdin = `<domain type='qemu'><name>any</name><memory>65536</memory>
    <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
    <controller type='scsi' model='virtio-scsi'/>${wanted.map(({ xml }) => xml).join('')}
    </devices></domain>`;
  await libvirt.virsh.run(['define', '--validate', '/dev/stdin'], { stdin });
  const kept = domainDisks(await libvirt.virsh.run(['dumpxml', '--domain', 'any']));
  expect(kept).toHaveLength(8);
  for (const { disk } of wanted) expect(kept).toContainEqual(disk);
  await libvirt.virsh.run(['undefine', '--domain', 'any']);
});

test('a guest that is not root runs on the disks that the driver describes', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Bronze');
  const uuid = randomUUID();
  const old = await cluster.createVolume('Bronze', { name: `volume-${uuid}` });
  const connected = await driver().connectVolume(infoOf(volume.name));
  expect(connected.serial).toBe(volume.id);
  // As at every hard reboot of a guest.
  expect(await driver().connectVolume(infoOf(volume.name))).toEqual(connected);
  // As Cinder's driver of the original product describes a volume.
  const legacy = {
    driver_volume_type: 'veritas_hyperscale',
    data: { export: 'hyperscale-sv:/hyperscale', name: `{${uuid}}` },
  };
  const device = await driver().connectVolume(legacy);
  expect(await driver().connectVolume(legacy)).toEqual(device);
  expect(device).toMatchObject({ serial: uuid, data: { device_path: pathOf(uuid.slice(0, 31)) } });
  // What libvirt itself does for a guest, but in a lab not.
  const loop = realpathSync(String(device.data.device_path));
  await run('chown', [group, loop]);

  const directory = join(cluster.lab.directory, 'guest');
  const disks = [
    driver().getConfig(connected, { ...diskInfo, boot_index: '1' }),
    driver().getConfig(device, { dev: 'vdb', bus: 'virtio' }),
  ];
  const guest = await LabGuest.create({ name: 'g1', directory, disks });
  cluster.atEnd(() => guest.destroy(libvirt));
  // A guest that is not root reads its kernel and writes its console there.
  const files = [...guest.xml.matchAll(/<(?:kernel|initrd)>(.*)<\//g)].map(([, path = '']) => path);
  const directories = [cluster.lab.directory, directory, ...files.map(dirname)];
  for (const path of directories) chmodSync(path, 0o755);
  await guest.start(libvirt);
  await Promise.all([guest.counted('vda', 5), guest.counted('vdb', 5)]);
  expect(guest.disks).toMatchObject([
    { name: 'vda', bytes: 64 * mib, serial: volume.id.slice(0, 20) },
    { name: 'vdb', bytes: 64 * mib, serial: uuid.slice(0, 20) },
  ]);
  const qemu = n1.pids().find((pid) => readFileSync(`/proc/${pid}/cmdline`).includes('guest=g1'));
  expect(readFileSync(`/proc/${qemu}/status`, 'utf8')).toMatch(/^Uid:\s+[1-9]/m);

  // It waits while there are no heads, however they went.
  n1.kill('head');
  await Promise.all([guest.counted('vda', 5), guest.counted('vdb', 5)]);
  guest.assertNoTrouble();
  await guest.destroy(libvirt);
  await run('chown', ['root', loop]);
  for (const info of [connected, connected, device, device]) await driver().disconnectVolume(info);
  for (const { name } of [volume, old]) {
    const { attachments } = await n1.api.call<VolumeState>('GET', `/v1/volumes/${name}`);
    expect(attachments).toEqual([]);
  }
  expect(existsSync(String(device.data.device_path))).toBe(false);
});

test('a block device has the name of its volume, has its size, and ends with it', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Bronze');
  const info = infoOf(volume.name, { mode: 'block' });
  const [first, second] = await Promise.all([
    driver().connectVolume(info),
    driver().connectVolume(info),
  ]);
  const path = pathOf(`hyperscale-${volume.name}`);
  expect(first.data.device_path).toBe(path);
  expect(second).toEqual(first);
  const loop = realpathSync(path);
  await run('dd', ['if=/dev/urandom', `of=${path}`, 'bs=4k', 'count=1', 'oflag=direct']);
  expect(await driver().extendVolume(first)).toBe(64 * mib);
  await n1.hscli('volume', 'extend', volume.name, '--size', '80MiB');
  expect(await driver().extendVolume(first)).toBe(80 * mib);

  // Who uses it is asked first, unless the caller knows better.
  const user = await open(path, 'r');
  await expect(driver().disconnectVolume(first)).rejects.toMatchObject({ code: 'in-use' });
  expect(existsSync(path)).toBe(true);
  await driver().disconnectVolume(first, { force: true });
  await user.close();
  expect(existsSync(path)).toBe(false);
  expect(existsSync(`/sys/block/${basename(loop)}/loop/backing_file`)).toBe(false);
  await driver().disconnectVolume(first);
  await expect(driver().extendVolume(first)).rejects.toMatchObject({ code: 'not-found' });
});

test('many at once, from two processes, leave one attachment, and then none', async () => {
  const volume = await cluster.createVolume('Bronze');
  const url = new URL('../../src/libvirt/registry.ts', import.meta.url).href;
  const other = (call: string) =>
    run(process.execPath, [
      ...['--disable-warning=ExperimentalWarning', '--input-type=module', '-e'],
      `import { volumeDrivers } from ${JSON.stringify(url)};
       const driver = volumeDrivers(${JSON.stringify(options)}).driver('hyperscale');
       console.log(JSON.stringify(await driver.${call}(${JSON.stringify(infoOf(volume.name))})));`,
    ]);
  const [ours, theirs, ...more] = await Promise.all([
    driver().connectVolume(infoOf(volume.name)),
    other('connectVolume'),
    driver().connectVolume(infoOf(volume.id)),
    driver().connectVolume(infoOf(volume.name)),
  ]);
  const session = (ours.data as { session: string }).session;
  expect(JSON.parse(theirs.stdout).data.session).toBe(session);
  for (const { data } of more) expect(data.session).toBe(session);
  expect((await volume.show('n1')).attachments).toMatchObject([{ host: 'n1', session }]);
  await Promise.all([
    driver().disconnectVolume(infoOf(volume.name)),
    other('disconnectVolume'),
    driver().disconnectVolume(infoOf(volume.id)),
  ]);
  expect((await volume.show('n1')).attachments).toEqual([]);
});

test('a connection that is cancelled leaves things as they were', async () => {
  const volume = await cluster.createVolume('Bronze');
  const n1 = cluster.node('n1');
  const attachments = async () => (await volume.show('n1')).attachments;
  for (const seen of [false, true]) {
    const cancel = new AbortController();
    const connecting = driver().connectVolume(infoOf(volume.id), cancel.signal);
    // In the middle: before the attachment is recorded, or as soon as it is.
    const events = n1.api.events(`/v1/events?volume=${volume.id}`, cancel.signal);
    if (seen) await events.next().catch(() => undefined);
    cancel.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'cancelled' });
    expect(await attachments()).toEqual([]);
  }
  // What was attached before is not taken away by a call that came to nothing.
  const { session } = await volume.attach('n1');
  const cancel = new AbortController();
  const connecting = driver().connectVolume(infoOf(volume.id), cancel.signal);
  setTimeout(() => cancel.abort(), 50);
  await expect(connecting).rejects.toMatchObject({ code: 'cancelled' });
  expect(await attachments()).toMatchObject([{ session }]);
  expect((await driver().connectVolume(infoOf(volume.id))).data.session).toBe(session);
  await volume.detach('n1');
});

test('a volume that is extended, and one that is not there', async () => {
  const volume = await cluster.createVolume('Bronze');
  const connected = await driver().connectVolume(infoOf(volume.name));
  await cluster.node('n1').hscli('volume', 'extend', volume.name, '--size', '80MiB');
  expect(await driver().extendVolume(connected)).toBe(80 * mib);
  await driver().disconnectVolume(connected);
  await expect(driver().connectVolume(infoOf('absent'))).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('"absent"'),
  });
  await driver().disconnectVolume(infoOf('absent'));
});
