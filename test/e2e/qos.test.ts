/** What a volume may do: kept by its head, for all its consumers together, whatever happens to it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { NbdClient } from '../../lab/nbd.ts';
import type { LimitsAnswer } from '../../src/api/qos-schemas.ts';
import { sharedCluster } from './fixture.ts';
import { type Endpoint, TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });

const depth = 8;
const kib = 1024;
const mib = 1024 * kib;

/** A consumer on a host that writes as fast as it is let, and remembers what went wrong. */
class Load {
  bytesEach = 4 * kib;
  done = 0;
  readonly errors: unknown[] = [];
  #ended = false;
  readonly #client: NbdClient;

  private constructor(client: NbdClient) {
    this.#client = client;
    for (let lane = 0; lane < depth; lane += 1) {
      this.#run(lane).catch((error: unknown) => {
        if (!this.#ended) this.errors.push(error);
      });
    }
  }

  static async on(endpoint: Endpoint, host: string): Promise<Load> {
    const consumer = await cluster.consumer(endpoint, host);
    const load = new Load(await NbdClient.open(consumer.socket, 'disk'));
    cluster.atEnd(() => load.end());
    return load;
  }

  async #run(lane: number): Promise<void> {
    for (let round = 0; !this.#ended; round += 1) {
      const content = Buffer.alloc(this.bytesEach, round);
      await this.#client.write((lane * 16 + (round % 16)) * 256 * kib, content);
      this.done += 1;
    }
  }

  end(): void {
    this.#ended = true;
    this.#client.close();
  }
}

/** Requests a second of all of them together, from now on for a while. */
async function rate(loads: Load[], milliseconds: number): Promise<number> {
  const before = count(loads);
  const since = performance.now();
  await sleep(milliseconds);
  return ((count(loads) - before) * 1000) / (performance.now() - since);
}

const count = (loads: Load[]) => loads.reduce((sum, load) => sum + load.done, 0);

/** Limits hold on a busy machine with few requests a second: give or take so much. */
const tolerance = 0.3;
/** A machine that is too busy for a while may do less; never more. */
const windows = 5;

async function expectRate(loads: Load[], iops: number): Promise<void> {
  // What the limits before had let wait is over.
  await sleep(400);
  let most = 0;
  for (let window = 0; window < windows && most < iops * (1 - tolerance); window += 1) {
    const measured = await rate(loads, 1_200);
    expect(measured).toBeLessThan(iops * (1 + tolerance));
    most = Math.max(most, measured);
  }
  expect(most).toBeGreaterThan(iops * (1 - tolerance));
}

/** Changes limits by asking a node. */
async function limit(via: string, change: Partial<Record<keyof LimitsAnswer, number | null>>) {
  const { api } = cluster.node(via);
  return api.call<LimitsAnswer>('PATCH', `/v1/volumes/${name}/qos`, change);
}

const name = 'limited';
const loads: Load[] = [];

test('limits hold for all consumers together, and change while they write', async () => {
  const n1 = cluster.node('n1');
  const create = ['volume', 'create', name, '--size', '64M', '--policy', 'Silver'];
  await n1.hscli(...create, '--max-iops', '80');
  const volume = new TestVolume(cluster.lab, name, '');
  loads.push(await Load.on(await volume.attach('n1'), 'n1'));
  loads.push(await Load.on(await volume.attach('n2'), 'n2'));
  await expectRate(loads, 80);
  // Beside the head and behind a proxy: neither is shut out.
  for (const load of loads) expect(load.done).toBeGreaterThan(20);

  const { epoch } = await volume.show('n1');
  const head = n1.pids('head');
  await limit('n2', { maxIops: 240 });
  await expectRate(loads, 240);
  expect(await n1.hscli('volume', 'qos', name, '--max-iops', '120')).toMatchObject({
    from: 'volume',
    maxIops: 120,
    maxBandwidth: null,
  });
  await expectRate(loads, 120);

  // 64 KiB each: 4 MiB/s are 64 of them.
  for (const load of loads) load.bytesEach = 64 * kib;
  await limit('n1', { maxIops: null, maxBandwidth: 4 * mib });
  await expectRate(loads, 64);
  for (const load of loads) load.bytesEach = 4 * kib;

  const before = count(loads);
  await limit('n1', { maxIops: 60, maxBandwidth: null, burstIops: 300, burstSeconds: 2 });
  expect(await rate(loads, 1_500)).toBeGreaterThan(100);
  await expect.poll(() => count(loads) - before, { timeout: 60_000 }).toBeGreaterThan(660);
  await expectRate(loads, 60);
  expect(loads.flatMap((load) => load.errors)).toEqual([]);
  expect([n1.pids('head'), (await volume.show('n1')).epoch]).toEqual([head, epoch]);
});

test('a head that was started anew has them, and one that was adopted gets what it missed', async () => {
  const volume = new TestVolume(cluster.lab, name, '');
  const n1 = cluster.node('n1');
  const [near, far] = loads;
  if (near === undefined || far === undefined) throw new Error('there is no load');
  await limit('n1', { maxIops: 80, burstIops: null });
  n1.kill('head');
  await expectRate(loads, 80);
  // Else n2 would take over from a node without a daemon.
  far.end();
  await volume.detach('n2');
  const head = n1.pids('head');
  await n1.killDaemon();
  await limit('n2', { maxIops: 200 });
  await n1.start();
  await expectRate([near], 200);
  expect(n1.pids('head')).toEqual(head);
  expect(near.errors).toEqual([]);
  near.end();
});

test('a take-over keeps them', async () => {
  const volume = new TestVolume(cluster.lab, name, '');
  await limit('n2', { maxIops: 100 });
  await cluster.node('n1').powerCut();
  const load = await Load.on(await volume.attach('n2'), 'n2');
  await expectRate([load], 100);
  expect(load.errors).toEqual([]);
});
