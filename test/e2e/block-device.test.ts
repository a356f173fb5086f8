/** Attachments as real block devices: what they survive, and that nothing of them is left behind. */
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import type { Answer } from '../../lab/api.ts';
import { listensOn } from '../../lab/listens.ts';
import { signal } from '../../lab/processes.ts';
import { findLoops } from '../../src/engine/block-device-loop.ts';
import { EngineBench } from './engine-fixture.ts';
import { mib, sharedCluster } from './fixture.ts';
import type { Problem, TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'], etcdNode: 'n2' });
const run = promisify(execFile);

// What others have in the directory of links stays there, whatever happens.
const foreign = ['foreign', 'taken'];
beforeAll(() => {
  const { deviceDirectory } = cluster.node('n1');
  mkdirSync(deviceDirectory, { recursive: true });
  symlinkSync('/dev/null', join(deviceDirectory, 'foreign'));
  writeFileSync(join(deviceDirectory, 'taken'), 'not a link');
});

type Device = { host: string; device: string; link: string | null };

const path = (volume: TestVolume, host: string) =>
  `/v1/volumes/${volume.name}/attachments/${host}/device`;

/** Makes the device of an attachment, asking `via`. */
async function device(volume: TestVolume, host: string, name?: string, via = host) {
  const body = name === undefined ? {} : { name };
  return cluster.node(via).api.call<Device>('PUT', path(volume, host), body);
}

async function refused(volume: TestVolume, name: string): Promise<Answer<Problem>> {
  return cluster.node('n1').api.request('PUT', path(volume, 'n1'), { name });
}

/** Loop devices, mounts and processes that there are of a volume's device. */
function left({ id }: TestVolume): string[] {
  const loops = readdirSync('/sys/block').flatMap((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return existsSync(file) && readFileSync(file, 'utf8').includes(id) ? [name] : [];
  });
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  const pids = processes({ id }).map(String);
  return [...loops, ...mounts.filter((line) => line.includes(id)), ...pids];
}

/** The processes of a volume's devices on n1. */
function processes({ id }: { id: string }): number[] {
  const pids = cluster.node('n1').pids('device');
  return pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(id));
}

async function until(met: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!met()) {
    if (performance.now() > deadline) throw new Error(`${met} does not come true`);
    await sleep(20);
  }
}

/** Writes so many MiB once, 64 KiB each and 16 at a time, and reads all of it back. */
function fio(device: string, mebibytes: number, perSecond: number): string[] {
  const load = ['--rw=randwrite', '--bs=64k', '--iodepth=16', `--rate_iops=,${perSecond}`];
  const check = ['--verify=crc32c', '--verify_fatal=1', '--fsync=50'];
  const how = ['--ioengine=libaio', '--direct=1', `--size=${mebibytes}M`, `--filename=${device}`];
  return ['fio', '--name=device', '--verify_state_save=0', ...how, ...load, ...check];
}

test('it survives exchanges of heads, a hand-over, and restarts of the daemon', async () => {
  const volume = await cluster.createVolume('Silver');
  const n1 = cluster.node('n1');
  await volume.attach('n2');
  await volume.attach('n1');
  const made = await device(volume, 'n1', 'db{1}', 'n2');
  expect(made.link).toBe(join(n1.deviceDirectory, 'db{1}'));
  expect(realpathSync(made.link ?? '')).toBe(made.device);
  const size = async () => Number((await run('blockdev', ['--getsize64', made.device])).stdout);
  expect(await size()).toBe(64 * mib);
  const before = left(volume);
  expect(before).toHaveLength(3);
  const load = n1.exec(fio(made.link ?? '', 12, 60), 50_000);
  load.catch(() => undefined);
  await sleep(700);
  cluster.node('n2').kill('head');
  await sleep(700);
  // The head comes to n1, where the device is.
  await volume.detach('n2');
  await volume.waitFor((state) => state.head === 'n1');
  await n1.killDaemon();
  await n1.start();
  // While the device waits for a head that hangs, its process answers nobody. A daemon that starts
  // meanwhile ends the head for that, and must leave the device alone.
  await until(() => n1.pids('head').length > 0);
  n1.freeze({ only: 'head' });
  const write = run('dd', [
    ...['if=/dev/zero', `of=${made.device}`, 'bs=512', 'seek=131071', 'count=1'],
    ...['oflag=direct', 'conv=fsync,notrunc'],
  ]);
  await n1.stopDaemon();
  await n1.start();
  await write;
  await load;
  expect(left(volume)).toEqual(before);
  expect(await device(volume, 'n1')).toEqual(made);
  // The daemon that makes it grow is not the one that started its process.
  await n1.hscli('volume', 'extend', volume.name, '--size', '80M');
  expect(await size()).toBe(80 * mib);
  await run('dd', [
    'if=/dev/zero',
    `of=${made.device}`,
    'bs=1M',
    'seek=79',
    'oflag=direct',
    'count=1',
  ]);
  await volume.detach('n1');
  expect(existsSync(made.link ?? '')).toBe(false);
  expect(left(volume)).toEqual([]);
});

test('one that is in use is not taken from its user, unless by force; then nothing reaches the volume', async () => {
  const volume = await cluster.createVolume('Bronze', { sizeBytes: 16 * mib });
  const n1 = cluster.node('n1');
  const { session } = await volume.attach('n1');
  const made = await device(volume, 'n1', 'used');
  await run('mkfs.ext4', ['-q', made.device]);
  const point = join(n1.directory, 'mnt');
  mkdirSync(point);
  await run('mount', [made.device, point]);
  const detach = (query = '') =>
    n1.api.request<Problem>('DELETE', `/v1/volumes/${volume.name}/attachments/n1${query}`);
  const mounted = await detach();
  expect(mounted.body).toMatchObject({ code: 'in-use', status: 409 });
  expect(mounted.body.detail).toContain(point);
  await run('umount', [point]);
  // Somebody who has it open and writes until there is an error.
  const block = 'dd if=/dev/zero of=/dev/fd/7 oflag=direct bs=4k count=16 conv=notrunc';
  const loop = `while ${block}; do :; done 7<>${made.device}`;
  const writer = n1.spawn(['bash', '-c', loop], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  writer.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = new Promise((resolve) => writer.once('close', resolve));
  await until(() => said.includes('copied'));
  const open = await n1.api.request<Problem>('DELETE', path(volume, 'n1'));
  expect(open.body.code).toBe('in-use');
  expect(open.body.detail).toContain(`(pid ${writer.pid})`);
  // Nothing has changed.
  expect(realpathSync(made.link ?? '')).toBe(made.device);
  expect((await volume.attach('n1')).session).toBe(session);
  expect((await detach('?force=true')).status).toBe(204);
  await ended;
  expect(said).toMatch(/Input\/output error/);
  expect(existsSync(join(n1.deviceDirectory, 'used'))).toBe(false);
  await until(() => left(volume).length === 0);
  expect((await volume.show('n1')).attachments).toEqual([]);
});

test('names of links are checked, and nothing of others is ever replaced', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Bronze', { sizeBytes: 16 * mib });
  const other = await cluster.createVolume('Bronze', { sizeBytes: 16 * mib });
  expect((await refused(volume, 'x')).body.code).toBe('not-allowed');
  await volume.attach('n1');
  await other.attach('n1');
  const wrong = ['..', 'a/b', '../x', 'x'.repeat(65), '', 'a..b', 'a b'];
  for (const name of wrong) {
    expect((await refused(volume, name)).body.code, name).toBe('bad-input');
  }
  for (const name of foreign) {
    expect((await refused(volume, name)).body.code, name).toBe('exists');
  }
  expect(readFileSync(join(n1.deviceDirectory, 'taken'), 'utf8')).toBe('not a link');
  expect(readlinkSync(join(n1.deviceDirectory, 'foreign'))).toBe('/dev/null');
  // Nothing is half done.
  expect(left(volume)).toEqual([]);
  const mine = await device(volume, 'n1', 'mine');
  expect((await refused(other, 'mine')).body.code).toBe('exists');
  expect((await refused(volume, 'another')).body.code).toBe('conflict');
  expect(await device(volume, 'n1', 'mine')).toEqual(mine);
  const both = await Promise.all([device(other, 'n1'), device(other, 'n1', 'other')]);
  expect(new Set(both.map((d) => d.device)).size).toBe(1);
  await n1.hscli('volume', 'device', other.name, '--remove');
  await n1.hscli('volume', 'device', other.name, '--remove', '--force');
  expect(await n1.hscli('volume', 'device', volume.name)).toEqual(mine);
  for (const each of [volume, other]) await each.detach('n1');
  expect([...left(volume), ...left(other)]).toEqual([]);
});

test('what a crash leaves is taken away before anybody can reach it', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Silver');
  await volume.attach('n1');
  const made = await device(volume, 'n1', 'crashed');
  const disks = join(n1.runDirectory, 'disks');
  // A start that was cut short left a file; a removal that was cut short left no loop device.
  writeFileSync(join(disks, `${volume.id}.0123456789ab.img`), '');
  symlinkSync(join(disks, `${volume.id}.0123456789ab.dev`), join(n1.deviceDirectory, 'half'));
  const other = await cluster.createVolume('Bronze', { sizeBytes: 16 * mib });
  await other.attach('n1');
  const { device: number } = await device(other, 'n1', 'reused');
  await n1.killDaemon();
  for (const pid of processes(volume)) signal(pid, 'SIGKILL');
  // Of the other one the loop device was freed, and a file of somebody else has got its number.
  const file = join(n1.directory, 'foreign-file');
  writeFileSync(file, Buffer.alloc(mib));
  await run('losetup', ['-d', number]);
  await run('losetup', [number, file]);
  await n1.start();
  expect(readdirSync(disks)).toEqual([]);
  expect(readdirSync(n1.deviceDirectory).sort()).toEqual(foreign);
  expect([...left(volume), ...left(other)]).toEqual([]);
  expect(findLoops((backing) => backing === file).map(({ path }) => path)).toEqual([number]);
  expect((await device(other, 'n1', 'reused')).device).not.toBe(number);
  await other.detach('n1');
  await run('losetup', ['-d', number]);
  // Its process dies while the daemon runs: the same, and the next one is another device.
  const second = await device(volume, 'n1', 'crashed');
  n1.kill('device');
  await until(() => left(volume).length === 0);
  expect(lstatSync(made.link ?? '', { throwIfNoEntry: false })).toBeUndefined();
  const told = async () => (await cluster.events('n1', volume)).map((event) => event.type);
  await expect.poll(told).toContain('device.died');
  expect((await device(volume, 'n1', 'crashed')).link).toBe(second.link);
  // A session that was revoked elsewhere takes its device with it.
  await cluster.node('n2').hscli('volume', 'detach', volume.name, '--node', 'n1', '--force');
  await until(() => left(volume).length === 0);
});

test('a power cut leaves links that are recognised and removed, and nothing else', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Silver');
  await volume.attach('n1');
  const made = await device(volume, 'n1', 'before');
  await n1.powerCut();
  expect(left(volume)).toEqual([]);
  expect(lstatSync(made.link ?? '').isSymbolicLink()).toBe(true);
  expect(existsSync(made.link ?? '')).toBe(false);
  await n1.boot();
  expect(readdirSync(n1.deviceDirectory).sort()).toEqual(foreign);
  await volume.waitFor((state) => state.attachments.length === 0);
});

test('one that waits for the head is given up when it is detached, and made when it is served', async () => {
  const volume = await cluster.createVolume('Silver');
  const [n1, n2] = [cluster.node('n1'), cluster.node('n2')];
  await volume.attach('n1');
  const asked = () => n2.api.request<Problem>('PUT', path(volume, 'n2'), { attach: true });
  const held = () => n2.pids('device').concat(n2.pids('proxy')).length;
  n1.freeze({ only: 'daemon' });
  const waiting = asked();
  await until(() => existsSync(join(n2.runDirectory, 'attach', `${volume.id}.sock`)));
  const detached = n2.api.request('DELETE', `/v1/volumes/${volume.name}/attachments/n2`);
  const { body } = await waiting;
  expect(body).toMatchObject({ code: 'conflict' });
  expect(body.detail).toContain('detached');
  await n1.thaw({ only: 'daemon' });
  expect((await detached).status).toBe(204);
  await until(() => held() === 0);
  await until(() => readdirSync(join(n2.runDirectory, 'disks')).length === 0);
  await until(() => !existsSync(join(n2.runDirectory, 'attach', `${volume.id}.sock`)));
  // In one go with its attachment; again without change.
  const made = await asked();
  expect(made.status).toBe(200);
  expect(await device(volume, 'n2')).toEqual(made.body);
  await volume.detach('n2');
  await volume.detach('n1');
  expect(left(volume)).toEqual([]);
});

test('discarded and zeroed blocks read as zeros and are freed', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Bronze', { sizeBytes: 32 * mib });
  await volume.attach('n1');
  const made = await device(volume, 'n1');
  await run('dd', ['if=/dev/urandom', `of=${made.device}`, 'bs=1M', 'count=32', 'conv=fsync']);
  const [file = ''] = volume.files('n1');
  const layer = join(n1.poolDirectory, 'volumes', volume.id, file);
  const before = statSync(layer).blocks * 512;
  await run('blkdiscard', ['--offset', '1M', '--length', '15M', made.device]);
  await run('blkdiscard', ['--zeroout', '--offset', '16M', '--length', '8M', made.device]);
  const zeros = ['-n', `${23 * mib}`, '-i', `${1 * mib}:0`, made.device, '/dev/zero'];
  await run('cmp', zeros);
  expect(before - statSync(layer).blocks * 512).toBeGreaterThanOrEqual(14 * mib);
  await volume.detach('n1');
});

/** A device of a server of its own: `disk` over a file. For `use`; then nothing of it may be left. */
async function withOwnServer(disk: object, use: (path: string) => Promise<void>): Promise<void> {
  const bench = await EngineBench.create();
  try {
    const { engine } = await bench.node('n');
    const [volume, session] = [randomUUID(), 'session'];
    const image = join(bench.directory, 'image');
    await run('truncate', ['-s', '32M', image]);
    const socket = engine.attachSocket(volume);
    const file = { driver: 'file', 'node-name': 'file', filename: image };
    const nodes = [file, { ...disk, 'node-name': 'disk' }];
    const server = nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]);
    server.push('--nbd-server', `addr.type=unix,addr.path=${socket}`, '--export');
    server.push(`type=nbd,id=x,name=${session},node-name=disk,writable=on`);
    bench.child(spawn('qemu-storage-daemon', server, { stdio: 'ignore' }));
    await expect.poll(() => listensOn(socket), { timeout: 60_000 }).toBe(true);
    const device = await engine.devices.start(
      { volume, session },
      { reachable: Promise.resolve(), signal: AbortSignal.timeout(30_000) },
    );
    try {
      await use(device.path);
      await device.remove();
    } catch (error) {
      await device.kill();
      throw error;
    }
    expect(findLoops((backing) => backing.includes(volume))).toEqual([]);
    expect(readdirSync(join(bench.directory, 'n', 'run', 'disks'))).toEqual([]);
  } finally {
    await bench.clean();
  }
}

test('a flush of the device reaches what serves the volume', async () => {
  // Every flush that comes this far fails, and nothing else.
  const faults = [{ event: 'none', iotype: 'flush', errno: 5 }];
  const disk = { driver: 'blkdebug', image: 'file', 'inject-error': faults };
  // Who had the number before it told the kernel to send none.
  const number = basename((await run('losetup', ['-f'])).stdout.trim());
  writeFileSync(`/sys/block/${number}/queue/write_cache`, 'write through');
  await withOwnServer(disk, async (path) => {
    const write = ['if=/dev/urandom', `of=${path}`, 'bs=4k', 'count=8', 'oflag=direct'];
    await run('dd', write);
    await expect(run('dd', [...write, 'conv=fsync'])).rejects.toThrow('Input/output error');
  });
});

test('writes that are under way at once do not get the data of each other', async () => {
  await withOwnServer({ driver: 'raw', file: 'file' }, async (path) => {
    const [program = '', ...args] = fio(path, 32, 100_000);
    await run(program, args);
  });
});
