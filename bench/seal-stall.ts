/**
 * How long a seal, the beginning of a snapshot, holds a consumer's writes, and which of its steps
 * take the time. `node bench/seal-stall.ts [SEALS]`, as root; on an idle machine.
 *
 * The consumer is QEMU's own NBD client (lab/consumer.ts), which reconnects as that of a guest does. One
 * write of 4 KiB after the other goes through it; the longest around each seal is what counts.
 */
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabCluster } from '../lab/cluster.ts';
import { Consumer } from '../lab/consumer.ts';
import { NbdClient } from '../lab/nbd.ts';
import type { LabNode } from '../lab/node.ts';
import type { EndpointAnswer, VolumeDetailAnswer } from '../src/api/schemas.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { table, timesRow } from './report.ts';
import { Writer } from './writer.ts';

const sizeBytes = 1 << 30;
/** Quiet time between two seals; the longest write in it tells what the machine does by itself. */
const betweenMs = 400;
/** The write that a seal holds ends in this time after the call has returned. */
const afterMs = 100;
const goalMs = 50;
const healthyWithinMs = 30_000;
/** Policies of 1 and 2 reflections. */
const policies = ['Silver', 'Gold'] as const;
/** The steps of a seal, as hyperscaled logs them (src/node/complete-roll.ts). */
const steps = {
  endMs: 'the old head ends',
  syncMs: 'its layer is flushed',
  recordMs: 'the record is swapped',
  startMs: 'the new head serves',
};

type Rolled = { msg?: string; volume?: string; reason?: string } & Record<string, unknown>;

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 20);
  if (!Number.isInteger(count) || count < 1) {
    throw new HyperscaleError('bad-input', `${process.argv[2]} is no number of seals`);
  }
  const loadBefore = loadavg()[0] ?? 0;
  const cluster = await LabCluster.create({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });
  try {
    const rows: string[][] = [];
    for (const policy of policies) rows.push(...(await measure(cluster, policy, count)));
    process.stdout.write(table(['', 'median ms', '99 % ms', 'longest ms'], rows));
  } finally {
    await cluster.destroy();
  }
  const loads = [loadBefore, loadavg()[0] ?? 0].map((load) => load.toFixed(1));
  console.log(`load average: ${loads[0]} before, ${loads[1]} after`);
}

/** Rows for the table: the stall, the usual longest write, and the steps of the roll. */
async function measure(cluster: LabCluster, policy: string, count: number): Promise<string[][]> {
  const node = cluster.node('n1');
  const name = `stall-${policy.toLowerCase()}`;
  const at = `/v1/volumes/${name}`;
  const wish = { name, policy, sizeBytes };
  const { id } = await node.api.call<{ id: string }>('POST', '/v1/volumes', wish);
  const endpoint = await node.api.call<EndpointAnswer>('POST', `${at}/attachments`, {});
  await cluster.waitForVolume(name, hasAllCopies, healthyWithinMs, node.name);
  const consumer = await Consumer.start({
    socket: endpoint.socket,
    export: endpoint.session,
    directory: join(cluster.directory, 'consumer'),
    host: node,
  });
  const client = await NbdClient.open(consumer.socket, 'disk');
  const writer = new Writer(client);
  try {
    await writer.longestDuring(() => sleep(1_000)); // fills the working set
    const quiet: number[] = [];
    const stalls: number[] = [];
    for (let i = 0; i < count; i += 1) {
      quiet.push(await writer.longestDuring(() => sleep(betweenMs)));
      const seal = async () => {
        await node.api.call('POST', `${at}/seal`);
        await sleep(afterMs);
      };
      stalls.push(await writer.longestDuring(seal));
    }
    const met = stalls.filter((ms) => ms < goalMs).length;
    const title = `${policy}: longest write around a seal (${met} of ${count} under ${goalMs} ms)`;
    return [
      timesRow(title, stalls),
      timesRow('  between seals', quiet),
      ...stepRows(node, id, count),
    ];
  } finally {
    await writer.stop();
    client.close();
    await consumer.kill();
  }
}

function hasAllCopies({ state, report, policy }: VolumeDetailAnswer): boolean {
  return state === 'healthy' && report.layers.at(-1)?.copies.length === policy.copies;
}

/** What the daemon logged of the steps of the last `count` seals of a volume. */
function stepRows(node: LabNode, volume: string, count: number): string[][] {
  const rolls = readFileSync(node.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{') && line.includes('"rolled"'))
    .map((line) => JSON.parse(line) as Rolled)
    .filter((line) => line.msg === 'rolled' && line.volume === volume && line.reason === 'seal')
    .slice(-count);
  if (rolls.length < count) {
    throw new HyperscaleError('internal', `the log tells of ${rolls.length} seals, not ${count}`);
  }
  return Object.entries(steps).map(([field, step]) =>
    timesRow(
      `  ${step}`,
      rolls.map((roll) => Number(roll[field])),
    ),
  );
}

try {
  await main();
} catch (error) {
  console.error(`bench/seal-stall: ${errorText(error)}`);
  process.exitCode = 1;
}
