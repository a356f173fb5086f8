/**
 * How long one call of the legacy protocol takes as a process, from its start to its end: what
 * OpenStack waits for. `node bench/legacy-call.ts [CALLS]`, as root; on an idle machine.
 */
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { binDirectory } from '../lab/child.ts';
import { LabCluster } from '../lab/cluster.ts';
import type { LabNode } from '../lab/node.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { median, percentile } from './statistics.ts';

const guid = 'volume-8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';
const sizeGib = 1;

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 20);
  if (!Number.isInteger(count) || count < 1) {
    throw new HyperscaleError('bad-input', `${process.argv[2]} is no number of calls`);
  }
  const loadBefore = loadavg()[0] ?? 0;
  const cluster = await LabCluster.create({ nodes: ['n1', 'n2'] });
  try {
    await untilAllUp(cluster);
    await measureAll(cluster, count);
  } finally {
    await cluster.destroy();
  }
  console.log(
    `load average: ${loadBefore.toFixed(1)} before, ${(loadavg()[0] ?? 0).toFixed(1)} after`,
  );
}

/** A node that answers is not yet known to the others. */
async function untilAllUp({ nodes }: LabCluster): Promise<void> {
  for (const { api } of nodes) {
    const upNodes = async () =>
      (await api.call<{ nodes: { up: boolean }[] }>('GET', '/v1/nodes')).nodes.filter((n) => n.up);
    while ((await upNodes()).length < nodes.length) await sleep(50);
  }
}

async function measureAll(cluster: LabCluster, count: number): Promise<void> {
  const [here, there] = [cluster.node('n1'), cluster.node('n2')];
  const connect = { operation: 'connect_volume', volume_guid: guid };
  const disconnect = { operation: 'disconnect_volume', volume_guid: guid };
  const create = { volume_guid: guid, volume_raw_size: sizeGib, dn_reflection_factor: 1 };
  timed(here, {
    ...{ operation: 'message', exchange_name: 'hyperscale-datanode', routing_key: 'n1' },
    ...{ msg_token: 'hyperscale.storage.dm.volume.create', msg_body: create },
  });
  const rows: [string, () => number][] = [
    ['version (asks nobody)', () => timed(here, { operation: 'version' })],
    ['get_datanode_id', () => timed(here, { operation: 'get_datanode_id' })],
    ['connect_volume, the head must start', () => timed(here, connect)],
    ['connect_volume, connected already', () => timed(here, connect)],
    ['disconnect_volume, the head ends', () => timed(here, disconnect)],
  ];
  const elsewhere: [string, () => number][] = [
    ['connect_volume, the head is elsewhere', () => timed(here, connect)],
    ['disconnect_volume, the head is elsewhere', () => timed(here, disconnect)],
  ];
  print(rows, count);
  await cluster.waitForVolume(guid, () => true, 10_000, there.name);
  timed(there, connect);
  print(elsewhere, count);
  timed(there, disconnect);
}

/** Makes the calls in turns, so that what disturbs the machine for a while disturbs all of them. */
function print(rows: [string, () => number][], count: number): void {
  const samples = new Map<string, number[]>(rows.map(([name]) => [name, []]));
  for (let i = 0; i < count; i += 1) {
    for (const [name, call] of rows) samples.get(name)?.push(call());
  }
  for (const [name, all] of samples) {
    const figures = [median(all), Math.min(...all), percentile(all, 0.99)];
    const [middle, least, most] = figures.map((ms) => `${ms.toFixed(0)} ms`);
    console.log(
      `${name.padEnd(42)} median ${middle}, least ${least}, 99 % ${most} (${count} calls)`,
    );
  }
}

/** Milliseconds that a call takes as a process. @throws when it fails. */
function timed(node: LabNode, argument: object): number {
  const env = { ...process.env, HYPERSCALE_SOCKET: node.socketPath };
  const start = performance.now();
  const { status, stdout } = spawnSync(join(binDirectory, 'hscli'), [JSON.stringify(argument)], {
    env,
    encoding: 'utf8',
  });
  const took = performance.now() - start;
  if (status !== 0) throw new HyperscaleError('internal', `a call ended with ${status}: ${stdout}`);
  return took;
}

try {
  await main();
} catch (error) {
  console.error(`bench/legacy-call: ${errorText(error)}`);
  process.exitCode = 1;
}
