/**
 * How long it takes to clone a volume of 100 GiB that is being written to, and a snapshot of it, from
 * the call of the API to the answer, and how long that holds the consumer's writes.
 * `node bench/clone.ts [CLONES]`, as root; on an idle machine.
 */
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabCluster } from '../lab/cluster.ts';
import { Consumer } from '../lab/consumer.ts';
import { NbdClient } from '../lab/nbd.ts';
import type { EndpointAnswer } from '../src/api/schemas.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { table, timesRow } from './report.ts';
import { Writer } from './writer.ts';

const sizeBytes = 100 * 2 ** 30;
const name = 'cloned';
const at = `/v1/volumes/${name}`;
const heldBytes = 1 << 30;
const pieceBytes = 1 << 20;
/** Beyond what the writer writes; spread over the volume. */
const strideBytes = 90 * pieceBytes;

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 10);
  if (!Number.isInteger(count) || count < 1 || count > 100) {
    throw new HyperscaleError('bad-input', `${process.argv[2]} is no number of clones, 1 to 100`);
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
  const { api } = node;
  await api.call('POST', '/v1/volumes', { name, policy: 'Silver', sizeBytes });
  const endpoint = await api.call<EndpointAnswer>('POST', `${at}/attachments`, {});
  const consumer = await Consumer.start({
    socket: endpoint.socket,
    export: endpoint.session,
    directory: join(cluster.directory, 'consumer'),
    host: node,
  });
  const client = await NbdClient.open(consumer.socket, 'disk');
  const piece = Buffer.alloc(pieceBytes, 5);
  for (let i = 1; i <= heldBytes / pieceBytes; i += 1) await client.write(i * strideBytes, piece);
  await api.call('POST', `${at}/snapshots`, { name: 'kept' });
  const writer = new Writer(client);
  try {
    await writer.longestDuring(() => sleep(1_000)); // fills the working set
    const live: number[] = [];
    const held: number[] = [];
    const kept: number[] = [];
    for (let i = 0; i < count; i += 1) {
      // Each clone of a volume in use ends a layer; a merge may follow.
      await cluster.waitForVolume(name, ({ state }) => state === 'healthy', 60_000, node.name);
      const clone = async (source: object, all: number[]) => {
        const start = performance.now();
        await api.call('POST', '/v1/volumes', { name: `c${i}`, policy: 'Silver', ...source });
        all.push(performance.now() - start);
      };
      held.push(await writer.longestDuring(() => clone({ source: { volume: name } }, live)));
      await api.call('DELETE', `/v1/volumes/c${i}`);
      await clone({ source: { volume: name, snapshot: 'kept' } }, kept);
      await api.call('DELETE', `/v1/volumes/c${i}`);
      await sleep(500);
    }
    return [
      timesRow('clone of the volume in use', live),
      timesRow('longest write meanwhile', held),
      timesRow('clone of a snapshot', kept),
    ];
  } finally {
    await writer.stop();
    client.close();
    await consumer.kill();
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench/clone: ${errorText(error)}`);
  process.exitCode = 1;
}
