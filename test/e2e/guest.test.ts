import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Guest, type GuestOptions, lostRecords } from '../../scenario/guest/guest.ts';
import { buildGuestImage, type GuestImage } from '../../scenario/guest/image.ts';
import { onLines } from '../../scenario/guest/lines.ts';

const cache = process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale';
const outageMs = 300;
const started: Guest[] = [];
let directory: string;
let image: GuestImage;
let storage: ChildProcess | undefined;

/** Exports the test's disk as `disk`; resolves when clients can connect. */
async function startStorage(): Promise<ChildProcess> {
  const socket = join(directory, 'nbd.sock');
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'qemu-storage-daemon', '--chardev', 'stdio,id=monitor'],
      ...['--blockdev', `driver=file,node-name=file,filename=${join(directory, 'disk.raw')}`],
      ...['--blockdev', 'driver=raw,node-name=disk,file=file'],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
      ...['--export', 'type=nbd,id=disk,node-name=disk,name=disk,writable=on,writethrough=on'],
      ...['--monitor', 'chardev=monitor'],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  // The monitor is made last, so its greeting says that the export is there.
  await new Promise<void>((resolve, reject) => {
    onLines(child.stdout, () => resolve());
    child.once('error', reject);
    child.once('exit', () => reject(new Error('qemu-storage-daemon ended')));
  });
  return child;
}

async function killStorage(): Promise<void> {
  if (storage === undefined) return;
  const gone = once(storage, 'exit');
  storage.kill('SIGKILL');
  await gone;
}

async function startGuest(mode: GuestOptions['mode'], name: string): Promise<Guest> {
  const guest = await Guest.start({
    image,
    uri: { socket: join(directory, 'nbd.sock'), export: 'disk' },
    mode,
    serial: '0123456789abcdef-long-volume-id',
    directory: join(directory, name),
  });
  started.push(guest);
  return guest;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'guest-test-'));
  image = await buildGuestImage(cache);
  const disk = await open(join(directory, 'disk.raw'), 'w');
  await disk.truncate(1024 ** 3);
  await disk.close();
  storage = await startStorage();
});

afterAll(async () => {
  await Promise.all(started.map((guest) => guest.kill()));
  await killStorage();
  await rm(directory, { recursive: true, force: true });
});

test('a guest reports only records that outlive its disk and its own power', async () => {
  const guest = await startGuest('record', 'first');
  await guest.waitFor(/^HS-MKFS$/, 60_000);
  await guest.waitForRecord(40, 60_000);

  await killStorage();
  const killedAt = performance.now();
  await setTimeout(outageMs);
  storage = await startStorage();
  await guest.waitForNewRecords(40, 60_000);
  expect(guest.longestGap(killedAt) * 1000).toBeGreaterThan(outageMs - 50);
  expect(guest.ioErrors).toEqual([]);
  await guest.kill();

  const continued = await startGuest('record', 'second');
  const [, resumedAfter] = await continued.waitFor(/^HS-READY (\d+)$/, 60_000);
  expect(Number(resumedAfter)).toBeGreaterThanOrEqual(guest.records.length);
  await continued.waitForNewRecords(20, 60_000);
  await continued.kill();

  const reader = await startGuest('verify', 'third');
  const verification = await reader.verification(60_000);
  const reported = [...guest.records, ...continued.records];
  expect(verification).toMatchObject({ intact: true });
  expect(lostRecords(reported, verification)).toEqual([]);
  const checksums = verification.intact ? verification.checksums.slice(0, 40) : [];
  expect(lostRecords(reported, { intact: true, checksums, torn: false })).toEqual(
    reported.slice(40),
  );
  expect(reader.ioErrors).toEqual([]);
});

test('a guest says so when a record on its disk was changed', async () => {
  const disk = await open(join(directory, 'disk.raw'), 'r+');
  const bytes = Buffer.alloc(256 * 1024 * 1024);
  await disk.read(bytes, 0, bytes.length, 0);
  const record = /\n(2[0-9]) (\d+ ){12}\d+\n/.exec(bytes.toString('latin1'));
  expect(record).not.toBeNull();
  const place = (record?.index ?? 0) + 6;
  const digit = bytes.subarray(place, place + 1).toString();
  await killStorage();
  await disk.write(digit === '7' ? '8' : '7', place);
  await disk.sync();
  await disk.close();
  storage = await startStorage();

  const reader = await startGuest('verify', 'fourth');
  const verification = await reader.verification(60_000);
  expect(verification).toMatchObject({ intact: false, n: Number(record?.[1]) });
});
