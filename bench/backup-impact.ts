/**
 * What a guest loses while its volume is backed up: writes a second and their latency, with and
 * without a backup under way, in turn, in one run. `node bench/backup-impact.ts [ROUNDS] [MIB/S]`, as
 * root, on an idle machine. All nodes share its processors and disk, which real ones do not.
 *
 * The consumer is QEMU's own NBD client (lab/consumer.ts); fio writes blocks of 4 KiB at random, eight
 * at a time. The seal that a backup begins with is inside the measured time.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabCluster } from '../lab/cluster.ts';
import { Consumer } from '../lab/consumer.ts';
import { type FioFigures, startFio } from '../lab/fio.ts';
import { NbdClient } from '../lab/nbd.ts';
import type { VolumeBackupsAnswer } from '../src/api/backup-schemas.ts';
import type { EndpointAnswer, VolumeDetailAnswer } from '../src/api/schemas.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { table } from './report.ts';
import { median } from './statistics.ts';

const mib = 2 ** 20;
const sizeBytes = 1024 * mib;
/** What fio writes to, at the beginning of the volume. */
const workingSetBytes = 128 * mib;
const seconds = 8;
const name = 'impact';
const healthyWithinMs = 30_000;
const backupWithinMs = 300_000;
const lookMs = 100;

/** One measured time; `backedUp` is the part of it in which a backup was under way. */
type Sample = FioFigures & { backedUp: number };

async function main(): Promise<void> {
  const rounds = wholeNumber(process.argv[2] ?? '5');
  const rate = wholeNumber(process.argv[3] ?? '100');
  const loadBefore = loadavg()[0] ?? 0;
  const nodes = ['n1', 'n2', 'n3'];
  const target = (directory: string) => ({ directory: join(directory, 'nas') });
  const config = (directory: string) => ({
    backup: { bytesPerSecond: rate * mib, targets: { nas: target(directory) } },
  });
  const cluster = await LabCluster.create({
    ...{ nodes, etcdNode: 'n3', config, baseDirectory: '/var/tmp' },
  });
  try {
    mkdirSync(target(cluster.directory).directory);
    const { quiet, backedUp } = await measure(cluster, rounds, rate);
    process.stdout.write(table(['', 'without', 'with', 'ratio'], rows(quiet, backedUp)));
    const parts = backedUp.map((s) => Math.round(s.backedUp * 100)).join(', ');
    console.log(
      `${rounds} rounds of ${seconds} s each; at most ${rate} MiB/s are read for a backup`,
    );
    console.log(`a backup was under way in ${parts} % of the time of each`);
  } finally {
    await cluster.destroy();
  }
  const loads = [loadBefore, loadavg()[0] ?? 0].map((load) => load.toFixed(1));
  console.log(`load average: ${loads[0]} before, ${loads[1]} after`);
}

async function measure(
  cluster: LabCluster,
  rounds: number,
  rate: number,
): Promise<{ quiet: Sample[]; backedUp: Sample[] }> {
  const node = cluster.node('n1');
  const at = `/v1/volumes/${name}`;
  await node.api.call('POST', '/v1/backup-targets/nas', {});
  await node.api.call('POST', '/v1/volumes', { name, policy: 'Silver', sizeBytes });
  const endpoint = await node.api.call<EndpointAnswer>('POST', `${at}/attachments`, {});
  await cluster.waitForVolume(name, hasAllCopies, healthyWithinMs, node.name);
  const { socket, session } = endpoint;
  const consumer = await Consumer.start({
    ...{ socket, export: session, host: node, directory: join(cluster.directory, 'consumer') },
  });
  const client = await NbdClient.open(consumer.socket, 'disk');
  const waiting = async () => {
    const { episodes } = await node.api.call<VolumeBackupsAnswer>('GET', `${at}/backups`);
    return episodes.some((e) => e.backup === null);
  };
  const untilWritten = async () => {
    const end = performance.now() + backupWithinMs;
    while (await waiting()) {
      if (performance.now() > end)
        throw new HyperscaleError('timeout', 'the backup takes too long');
      await sleep(lookMs);
    }
  };
  const sample = async (): Promise<Sample> => {
    const fio = startFio({
      ...{ uri: consumer.uri, directory: join(cluster.directory, 'fio'), verify: false },
      ...{ sizeBytes: workingSetBytes, runtimeSeconds: seconds },
      ...{ rw: 'randwrite', bs: 4096, iodepth: 8 },
    });
    let looks = 0;
    let under = 0;
    while (!fio.over) {
      looks += 1;
      if (await waiting()) under += 1;
      await sleep(lookMs);
    }
    return { ...(await fio.wait()).write, backedUp: under / Math.max(1, looks) };
  };
  const quiet: Sample[] = [];
  const backedUp: Sample[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      // As much as is read for the backup in the measured time, and a little more.
      await dirty(client, Math.min(sizeBytes - workingSetBytes, rate * mib * (seconds + 2)));
      await cluster.waitForVolume(name, hasAllCopies, healthyWithinMs, node.name);
      quiet.push(await sample());
      await node.api.call('POST', `${at}/backups`, {});
      backedUp.push(await sample());
      await untilWritten();
    }
  } finally {
    client.close();
    await consumer.kill();
  }
  return { quiet, backedUp };
}

/** Writes content that no compression makes smaller behind what fio writes to. */
async function dirty(client: NbdClient, bytes: number): Promise<void> {
  for (let offset = 0; offset < bytes; offset += mib) {
    await client.write(workingSetBytes + offset, randomBytes(mib));
  }
}

function rows(quiet: readonly Sample[], backedUp: readonly Sample[]): string[][] {
  const of = (title: string, value: (sample: Sample) => number, digits: number) => {
    const [without, under] = [quiet, backedUp].map((samples) => median(samples.map(value)));
    const ratio = (under ?? 0) / (without ?? 1);
    return [title, (without ?? 0).toFixed(digits), (under ?? 0).toFixed(digits), ratio.toFixed(2)];
  };
  return [
    of('writes a second', (s) => s.iops, 0),
    of('latency, median ms', (s) => s.p50Ms, 2),
    of('latency, 99 % ms', (s) => s.p99Ms, 2),
    of('longest write, ms', (s) => s.maxMs, 0),
  ];
}

function hasAllCopies({ state, report, policy }: VolumeDetailAnswer): boolean {
  return state === 'healthy' && report.layers.at(-1)?.copies.length === policy.copies;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new HyperscaleError('bad-input', `${JSON.stringify(text)} is no whole number above 0`);
}

main().catch((error: unknown) => {
  console.error(errorText(error));
  process.exitCode = 1;
});
