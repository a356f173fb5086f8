/**
 * `node test/soak/migrations.ts`: guests with boot and data volumes write all the time while they are
 * live-migrated there and back, all at once. Ends with status 1 when one of them restarted, saw an
 * error, or lost anything that it had reported.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LabCluster } from '../../lab/cluster.ts';
import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import { Guest, lostRecords } from '../../scenario/guest/guest.ts';
import { buildGuestImage } from '../../scenario/guest/image.ts';
import type { MigratedAnswer } from '../../src/api/vm-move-schemas.ts';
import { errorText } from '../../src/errors.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';

const usage = `usage: node test/soak/migrations.ts [options]
  --rounds N    there and back so many times (default 50)
  --guests N    so many guests at once (default 2)`;

const cache = process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale';
const sizeBytes = 64 << 20;
const settledWithinMs = 60_000;

type Endpoint = { socket: string; session: string };
type Mover = { guest: LabGuest; boot: string; volumes: string[] };
type Measured = { tookMs: number; downtimeMs: number; stallMs: number };
type State = { head: string | null; attachments: { host: string }[] };

async function startGuest(lab: LabCluster, libvirt: LabLibvirt, name: string): Promise<Mover> {
  const { api } = libvirt.node;
  const volumes: string[] = [];
  const disks: string[] = [];
  let boot = '';
  for (const target of ['vda', 'vdb']) {
    const volume = `${name}-${target}`;
    const body = { name: volume, sizeBytes, policy: 'Silver' };
    const { id } = await api.call<{ id: string }>('POST', '/v1/volumes', body);
    const attachments = `/v1/volumes/${volume}/attachments`;
    const { socket, session } = await api.call<Endpoint>('POST', attachments, {});
    const source = { type: 'network', socket, export: session } as const;
    disks.push(diskXml({ source, serial: id, target, bus: 'virtio' }));
    volumes.push(volume);
    if (target === 'vda') boot = id;
  }
  const directory = join(lab.directory, `guest-${name}`);
  const guest = await LabGuest.create({ name, directory, mode: 'record', disks, pauseMs: 10 });
  await guest.start(libvirt);
  await writes(guest);
  return { guest, boot, volumes };
}

async function writes(guest: LabGuest): Promise<void> {
  await Promise.all([guest.recorded(10), guest.counted('vdb', 10)]);
}

/** Moves one guest, and waits until its volumes are where it is and it writes. */
async function move(lab: LabCluster, { guest, volumes }: Mover, to: string): Promise<Measured> {
  const began = performance.now();
  const args = ['vm', 'migrate', guest.name, '--live', '--to', to];
  const done = await lab.node('n3').hscli<MigratedAnswer>(...args);
  const isThere = ({ head, attachments }: State) =>
    head === to && attachments.map((a) => a.host).join() === to;
  await Promise.all(
    volumes.map((volume) => lab.waitForVolume<State>(volume, isThere, settledWithinMs)),
  );
  await writes(guest);
  const { tookMs, downtimeMs } = done;
  const until = performance.now();
  const gaps = [guest.longestGap(began, until), guest.longestCountGap('vdb', began, until)];
  return { tookMs, downtimeMs: downtimeMs ?? 0, stallMs: Math.max(...gaps) * 1_000 };
}

/** What is wrong with a guest that has stopped; nothing when the array is empty. */
async function violations(lab: LabCluster, mover: Mover, node: string): Promise<string[]> {
  const { guest, boot } = mover;
  const found = [...guest.troubles];
  if (guest.bootIds.length !== 1) found.push(`it booted ${guest.bootIds.length} times`);
  const attachments = `/v1/volumes/${guest.name}-vda/attachments`;
  const at = await lab.node(node).api.call<Endpoint>('POST', attachments, { host: node });
  const reader = await Guest.start({
    image: await buildGuestImage(cache),
    uri: { socket: at.socket, export: at.session },
    mode: 'verify',
    serial: boot,
    directory: join(lab.directory, `verify-${guest.name}`),
  });
  const verification = await reader.verification(600_000);
  if (!verification.intact) {
    found.push(`record ${verification.n} is not intact: ${verification.reason}`);
    return found;
  }
  const lost = lostRecords(guest.records, verification);
  if (lost.length > 0) found.push(`${lost.length} of ${guest.records.length} records are lost`);
  return found;
}

function figures(name: string, values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => Math.round(sorted[Math.ceil(part * sorted.length) - 1] ?? 0);
  return `${name.padEnd(24)} ${[at(0.5), at(0.95), at(1)].map((n) => String(n).padStart(8)).join('')}`;
}

async function soak(rounds: number, guests: number): Promise<boolean> {
  const lab = await LabCluster.create({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });
  const measured: Measured[] = [];
  const movers: Mover[] = [];
  try {
    const n1 = await LabLibvirt.start(lab.node('n1'));
    await LabLibvirt.start(lab.node('n2'));
    for (let number = 1; number <= guests; number += 1) {
      movers.push(await startGuest(lab, n1, `g${number}`));
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const to of ['n2', 'n1']) {
        const results = await Promise.all(movers.map((mover) => move(lab, mover, to)));
        measured.push(...results);
        const stall = Math.max(...results.map((m) => m.stallMs));
        const took = Math.max(...results.map((m) => m.tookMs));
        console.log(`#${round} to ${to}: ${took} ms, longest pause ${Math.round(stall)} ms`);
        for (const { guest } of movers) guest.assertNoTrouble();
      }
    }
    const wrong: string[] = [];
    for (const mover of movers) {
      await mover.guest.destroy(n1);
      for (const what of await violations(lab, mover, 'n1')) {
        wrong.push(`${mover.guest.name}: ${what}`);
      }
    }
    const records = movers.reduce((sum, { guest }) => sum + guest.records.length, 0);
    console.log(`\n${measured.length} migrations, ${records} records verified`);
    console.log(`${'milliseconds'.padEnd(24)}   median  95 in 100  most`);
    console.log(
      figures(
        'whole migration',
        measured.map((m) => m.tookMs),
      ),
    );
    console.log(
      figures(
        'no virtual CPU ran',
        measured.map((m) => m.downtimeMs),
      ),
    );
    console.log(
      figures(
        'longest pause of writes',
        measured.map((m) => m.stallMs),
      ),
    );
    for (const violation of wrong) console.log(`VIOLATION: ${violation}`);
    return wrong.length === 0;
  } finally {
    for (const { guest } of movers) guest.close();
    await lab.destroy();
  }
}

function count(text: string, what: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 10_000) return value;
  throw new Error(`--${what} ${text} is not a number from 1 to 10000\n${usage}`);
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '50' },
      guests: { type: 'string', default: '2' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return true;
  }
  return soak(count(values.rounds, 'rounds'), count(values.guests, 'guests'));
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  console.error(errorText(error));
  process.exitCode = 1;
}
