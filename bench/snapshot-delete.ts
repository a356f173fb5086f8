/**
 * How long the delete of a snapshot, and the merge that follows it in the background, hold a consumer's
 * writes. `node bench/snapshot-delete.ts [DELETES]`, as root; on an idle machine.
 *
 * The volume has two copies. Between its snapshots much is written, so that there is something to merge.
 * One write of 4 KiB after the other goes through QEMU's own NBD client (lab/consumer.ts) from the call until
 * the merge is done and the head reads its result; the longest of them is what counts.
 */
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabCluster } from '../lab/cluster.ts';
import { Consumer } from '../lab/consumer.ts';
import { NbdClient } from '../lab/nbd.ts';
import type { EndpointAnswer, VolumeDetailAnswer } from '../src/api/schemas.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { table, timesRow } from './report.ts';
import { Writer } from './writer.ts';

const sizeBytes = 1 << 30;
const name = 'deleted';
const at = `/v1/volumes/${name}`;
/** What each snapshot holds that the one before does not. */
const heldBytes = 64 << 20;
const pieceBytes = 1 << 20;
/** Beyond what the writer writes. */
const bulkAt = 64 << 20;
const goalMs = 100;
const mergedWithinMs = 120_000;

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 10);
  if (!Number.isInteger(count) || count < 1 || count > 20) {
    throw new HyperscaleError('bad-input', `${process.argv[2]} is no number of deletes, 1 to 20`);
  }
  const loadBefore = loadavg()[0] ?? 0;
  const cluster = await LabCluster.create({ nodes: ['n1', 'n2'], etcdNode: 'n2' });
  try {
    process.stdout.write(
      table(['', 'median ms', '99 % ms', 'longest ms'], await measure(cluster, count)),
    );
  } finally {
    await cluster.destroy();
  }
  const loads = [loadBefore, loadavg()[0] ?? 0].map((load) => load.toFixed(1));
  console.log(`load average: ${loads[0]} before, ${loads[1]} after`);
}

async function measure(cluster: LabCluster, count: number): Promise<string[][]> {
  const node = cluster.node('n1');
  await node.api.call('POST', '/v1/volumes', { name, policy: 'Silver', sizeBytes });
  const endpoint = await node.api.call<EndpointAnswer>('POST', `${at}/attachments`, {});
  const consumer = await Consumer.start({
    socket: endpoint.socket,
    export: endpoint.session,
    directory: join(cluster.directory, 'consumer'),
    host: node,
  });
  const client = await NbdClient.open(consumer.socket, 'disk');
  for (let i = 0; i <= count; i += 1) {
    await fill(client, i);
    await node.api.call('POST', `${at}/snapshots`, { name: `s${i}` });
  }
  await cluster.waitForVolume(name, isSettled, mergedWithinMs, node.name);
  const writer = new Writer(client);
  try {
    await writer.longestDuring(() => sleep(1_000)); // fills the working set
    const quiet: number[] = [];
    const calls: number[] = [];
    const held: number[] = [];
    for (let i = 0; i < count; i += 1) {
      quiet.push(await writer.longestDuring(() => sleep(1_000)));
      held.push(
        await writer.longestDuring(async () => {
          const before = await node.api.call<VolumeDetailAnswer>('GET', at);
          const start = performance.now();
          await node.api.call('DELETE', `${at}/snapshots/s${i}`);
          calls.push(performance.now() - start);
          // Its layer and the next are one, and the head reads that.
          const merged = (v: VolumeDetailAnswer) =>
            isSettled(v) && oldest(v) !== oldest(before) && v.epoch > before.epoch;
          await cluster.waitForVolume(name, merged, mergedWithinMs, node.name);
        }),
      );
    }
    const met = held.filter((ms) => ms < goalMs).length;
    const title = `longest write around a delete and its merge (${met} of ${count} under ${goalMs} ms)`;
    return [
      timesRow(title, held),
      timesRow('between deletes', quiet),
      timesRow('the call itself', calls),
    ];
  } finally {
    await writer.stop();
    client.close();
    await consumer.kill();
  }
}

/** What a snapshot is to hold, other bytes each time. */
async function fill(client: NbdClient, round: number): Promise<void> {
  const piece = Buffer.alloc(pieceBytes, round + 1);
  for (let done = 0; done < heldBytes; done += pieceBytes) await client.write(bulkAt + done, piece);
}

function isSettled({ state, report }: VolumeDetailAnswer): boolean {
  return state === 'healthy' && report.work.length === 0;
}

function oldest({ report }: VolumeDetailAnswer): string | undefined {
  return report.layers[0]?.id;
}

try {
  await main();
} catch (error) {
  console.error(`bench/snapshot-delete: ${errorText(error)}`);
  process.exitCode = 1;
}
