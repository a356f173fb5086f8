/** The metadata store is away: guests go on, changes wait, and everything resumes by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test, vi } from 'vitest';
import type { Consumer } from '../../lab/consumer.ts';
import { sharedCluster } from './fixture.ts';
import { hscli } from './fixture-run.ts';
import { members, reflections, type TestVolume } from './fixture-volume.ts';

const names = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes: names, etcdHost: 'meta', start: false });

/** Longer than any lease, so that whoever trusts leases alone would act. */
const awayMs = 11_000;

let volume: TestVolume;
let consumer: Consumer;

beforeAll(async () => {
  const nodes = names.map((name) => cluster.node(name));
  const starting = Promise.all(nodes.map((node) => node.start()));
  starting.catch(() => undefined);
  for (const node of nodes) {
    await vi.waitFor(
      () => expect(node.logTail()).toContain(`waiting for etcd at ${cluster.lab.etcd.endpoint}`),
      { timeout: 60_000 },
    );
    expect(node.running).toBe(true);
  }
  await cluster.lab.etcd.start();
  await starting;
  volume = await cluster.createVolume('Silver');
  consumer = await cluster.consumer(await volume.attach('n1'));
});

/** All processes that guests depend on, by node. */
function processes(): number[][] {
  return names.flatMap((name) => {
    const node = cluster.node(name);
    return [node.pids('head'), node.pids('replica-server')];
  });
}

/** Resolves once all daemons have the store, and had the time to act on what they found there. */
async function settled(): Promise<void> {
  for (const name of names) {
    const health = async () => (await cluster.node(name).api.call('GET', '/v1/health')) as object;
    await expect.poll(health, { timeout: 60_000 }).toMatchObject({ status: 'ok' });
  }
  await sleep(3_000);
}

test('daemons that were started before etcd serve as soon as it is there', async () => {
  const { nodes } = await cluster.node('n2').api.call<{ nodes: object[] }>('GET', '/v1/nodes');
  expect(nodes).toMatchObject(names.map((name) => ({ name, up: true })));
  expect(members(await volume.show('n1'))).toHaveLength(2);
});

test('etcd dies: I/O goes on, changes fail with a clear answer, nobody acts on what he cannot see', async () => {
  const before = await volume.mended();
  const running = processes();
  const { api } = cluster.node('n1');
  const { write } = await cluster.underFio(consumer, async () => {
    const killed = performance.now();
    await cluster.lab.etcd.kill();
    await expect
      .poll(() => api.call('GET', '/v1/health'), { timeout: 60_000 })
      .toMatchObject({ status: 'store-unavailable', node: 'n1' });
    const body = { name: 'later', sizeBytes: 1 << 20, policy: 'Bronze' };
    const [refused, told] = await Promise.all([
      api.request('POST', '/v1/volumes', body),
      hscli(cluster.node('n2'), 'volume', 'attach', volume.name),
    ]);
    expect(refused).toMatchObject({
      status: 503,
      body: { code: 'store-unavailable', hint: expect.any(String) },
    });
    expect(told.status).toBe(6);
    expect(told.stderr).toMatch(/store|etcd/);
    // What is known is still shown.
    expect(await volume.show('n1')).toMatchObject({ head: 'n1', epoch: before.epoch });
    const status = await hscli(cluster.node('n1'), 'cluster', 'status');
    expect(status.stdout).toMatch(/metadata store does not answer/);
    // A consumer must not notice within this time, nor after it: leases run out after 5 s.
    const fio = cluster.startFio(consumer, 4);
    await sleep(Math.max(0, awayMs - (performance.now() - killed)));
    expect((await fio.wait()).write.maxMs).toBeLessThan(4_000);
    expect(processes()).toEqual(running);
    await cluster.lab.etcd.start();
  });
  expect(write.maxMs).toBeLessThan(4_000);
  await settled();
  expect(processes()).toEqual(running);
  const after = await volume.mended();
  expect(after.epoch).toBe(before.epoch);
  expect(after.attachments).toEqual(before.attachments);
  expect(members(after)).toEqual(members(before));
  await cluster.createVolume('Bronze', { name: 'now' });
});

test('a reflection dies while etcd is away: writes wait, and go on when it is back', async () => {
  const [victim = ''] = reflections(await volume.mended());
  const away = 4_000;
  const fio = cluster.startFio(consumer);
  await sleep(1_000);
  await cluster.lab.etcd.kill();
  await cluster.node(victim).powerCut();
  await sleep(away);
  expect(fio.over).toBe(false);
  await cluster.lab.etcd.start();
  const { write } = await fio.wait();
  // Rule 2: without the record nobody left the write set, so nothing was acknowledged.
  expect(write.maxMs).toBeGreaterThan(away - 500);
  expect(members(await volume.show('n1'))).not.toContain(victim);
  await cluster.node(victim).boot();
  await volume.expectIdenticalCopies();
});
