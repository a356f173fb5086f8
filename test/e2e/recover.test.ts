/** etcd is lost for good, or set back: guests go on, and the records are rebuilt from the pools. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import type { RecoveryAnswer } from '../../src/api/recover-schemas.ts';
import { sharedCluster } from './fixture.ts';
import { block, type Piece, type QemuIo } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import { type Endpoint, members, reflections, type TestVolume } from './fixture-volume.ts';

const names = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes: names, etcdHost: 'meta' });

const blocks = Array.from({ length: 500 }, (_, number) => block(number));

type Guest = { volume: TestVolume; io: QemuIo; written: Piece[]; stop(): Promise<Piece[]> };

/** A volume on n1 with a consumer that writes, block after block, until it is stopped. */
async function guest(policy: 'Silver' | 'Gold' | 'Bronze', host = 'n1'): Promise<Guest> {
  const volume = await cluster.createVolume(policy);
  const io = cluster.qemuIo(await volume.attach(host));
  const written: Piece[] = [];
  let stopped = false;
  const writing = (async () => {
    for (let turn = 0; !stopped; turn += 1) {
      const piece = blocks[turn % blocks.length];
      if (piece === undefined) continue;
      await io.write(piece);
      if (turn < blocks.length) written.push(piece);
    }
  })();
  writing.catch(() => undefined);
  const stop = async () => {
    stopped = true;
    await writing;
    io.kill();
    return written;
  };
  return { volume, io, written, stop };
}

async function writesOn(written: readonly Piece[], more = 20): Promise<void> {
  const wanted = Math.min(written.length + more, blocks.length);
  await expect.poll(() => written.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(wanted);
}

async function expectStatus(status: string, nodes = names): Promise<void> {
  for (const name of nodes) {
    const health = async () => cluster.node(name).api.call('GET', '/v1/health');
    await expect.poll(health, { timeout: 60_000 }).toMatchObject({ status });
  }
}

/** All processes that guests depend on, by node. */
function processes(): number[][] {
  return names.flatMap((name) => {
    const node = cluster.node(name);
    return [node.pids('head'), node.pids('replica-server')];
  });
}

async function recover(...options: string[]): Promise<RecoveryAnswer> {
  return cluster.node('n2').hscli<RecoveryAnswer>('cluster', 'recover', ...options);
}

function outcomes(answer: RecoveryAnswer): Record<string, string> {
  return Object.fromEntries(answer.volumes.map((v) => [v.name, v.outcome]));
}

/** Reads all pieces as a guest does, through whatever new epochs begin meanwhile. */
async function expectRead(endpoint: Endpoint, pieces: readonly Piece[]): Promise<void> {
  const io = cluster.qemuIo(endpoint);
  for (const piece of pieces) await io.read(piece);
  io.kill();
}

async function loseEtcd(): Promise<void> {
  await cluster.lab.etcd.kill();
  cluster.lab.etcd.erase();
  await cluster.lab.etcd.start();
}

/** The volume can do everything that it could: hand-over, take-over, all copies equal. */
async function expectAlive(volume: TestVolume, pieces: readonly Piece[]): Promise<void> {
  await volume.mended();
  await volume.attach('n2');
  await volume.detach('n1');
  await volume.waitFor((state) => state.head === 'n2');
  await expectRead(await volume.attach('n2'), pieces);
  const [other = ''] = reflections(await volume.mended('n2'));
  await cluster.node('n2').powerCut();
  await expectRead(await volume.attach(other), pieces);
  await cluster.node('n2').boot();
  await volume.mended(other);
  await volume.expectIdenticalCopies();
  await volume.detach(other);
}

beforeEach(() => expectStatus('ok'));

test('etcd is lost for good: guests write on, and all records are rebuilt', async () => {
  const silver = await guest('Silver');
  const gold = await guest('Gold');
  const still = await cluster.createVolume('Silver', { name: 'still' });
  await cluster.createVolume('Bronze', { name: 'never-used' });
  await writesOn(gold.written);
  await still.attach('n3');
  await still.detach('n3');
  await gold.volume.seal('n1');
  const before = await silver.volume.mended();
  await gold.volume.mended();
  const goldBlocks = await gold.stop();
  const running = processes();
  const { api } = cluster.node('n1');

  await loseEtcd();
  await expectStatus('quarantined');
  const status = await hscli(cluster.node('n1'), 'cluster', 'status');
  expect(status.stdout).toMatch(/quarantine.*another cluster's/);
  expect(status.stdout).toContain('hscli cluster recover');
  for (const [method, path, body] of [
    ['POST', '/v1/volumes', { name: 'later', sizeBytes: 1 << 20, policy: 'Bronze' }],
    ['DELETE', `/v1/volumes/${still.name}`, undefined],
    ['POST', `/v1/volumes/${still.name}/attachments`, { host: 'n1' }],
    ['DELETE', `/v1/volumes/${silver.volume.name}/attachments/n1`, undefined],
  ] as const) {
    const answer = await api.request(method, path, body);
    expect(answer).toMatchObject({ status: 503, body: { code: 'quarantined' } });
  }
  // After a restart a daemon knows nothing but its pool: it still touches nothing.
  for (const name of ['n1', 'n3']) {
    await cluster.node(name).killDaemon();
    await cluster.node(name).start();
  }
  await expectStatus('quarantined');
  await writesOn(silver.written);
  expect(processes()).toEqual(running);

  const planned = await recover('--dry-run');
  const all = {
    [silver.volume.name]: 'exact',
    [gold.volume.name]: 'exact',
    still: 'exact',
    'never-used': 'exact',
  };
  expect(outcomes(planned)).toEqual(all);
  expect(planned).toMatchObject({ done: false, losses: [], findings: [], nodes: names });
  await expectStatus('quarantined');
  const done = await recover('--yes');
  expect(outcomes(done)).toEqual(all);
  expect(done).toMatchObject({ done: true, accepted: names, failed: [] });
  await expectStatus('ok');
  await writesOn(silver.written);
  const after = await silver.volume.mended();
  expect(processes()).toEqual(running);
  expect(after.epoch).toBe(before.epoch);
  expect(after.attachments).toEqual(before.attachments);
  expect(members(after)).toEqual(members(before));
  // Again, from anywhere: there is nothing to do any more.
  expect(await cluster.node('n3').hscli('cluster', 'recover', '--yes')).toMatchObject({
    needless: true,
    done: false,
  });
  await expectAlive(silver.volume, await silver.stop());
  await expectAlive(gold.volume, goldBlocks);
  await cluster.createVolume('Bronze', { name: 'afterwards' });
});

test('etcd is set back to before an eviction: the newer records of the pools win', async () => {
  const { volume, written, stop } = await guest('Silver');
  const gone = await cluster.createVolume('Silver', { name: 'gone' });
  await gone.attach('n3');
  await gone.detach('n3');
  await writesOn(written);
  await volume.mended();
  await cluster.lab.etcd.kill();
  cluster.lab.etcd.keepCopy();
  await cluster.lab.etcd.start();
  await expectStatus('ok');
  const [victim = ''] = reflections(await volume.mended());
  const { epoch } = await volume.show('n1');
  await cluster.node(victim).powerCut();
  await volume.waitFor((state) => state.epoch > epoch && !members(state).includes(victim));
  await cluster.node(victim).boot();
  await volume.mended();
  await cluster.node('n1').api.call('DELETE', '/v1/volumes/gone');
  for (const name of names) {
    const { api, poolDirectory } = cluster.node(name);
    const left = async () => [
      (await api.request('GET', `/v1/volumes/${gone.id}`)).status,
      existsSync(join(poolDirectory, 'records', gone.id)),
    ];
    await expect.poll(left, { timeout: 60_000 }).toEqual([404, false]);
  }
  await writesOn(written);
  const before = await volume.mended();
  const running = processes();

  await cluster.lab.etcd.kill();
  cluster.lab.etcd.setBack();
  await cluster.lab.etcd.start();
  await expectStatus('quarantined');
  const status = await hscli(cluster.node('n1'), 'cluster', 'status');
  expect(status.stdout).toMatch(/quarantine.*set back/);
  await writesOn(written);
  const done = await recover('--yes');
  expect(outcomes(done)).toMatchObject({ [volume.name]: 'exact', gone: 'gone' });
  await expectStatus('ok');
  const after = await volume.mended();
  expect(processes()).toEqual(running);
  expect(after.epoch).toBe(before.epoch);
  expect(members(after)).toEqual(members(before));
  const { status: found } = await cluster.node('n1').api.request('GET', '/v1/volumes/gone');
  expect(found).toBe(404);
  await expectAlive(volume, await stop());
});

test('the node with the newest epoch is down: nothing is done before it is named and accepted', async () => {
  const { volume, io, written } = await guest('Silver', 'n1');
  await writesOn(written);
  const [peer = ''] = reflections(await volume.mended());
  const third = names.find((name) => name !== 'n1' && name !== peer) ?? '';
  // The peer is left out and misses the newest epoch, which only n1 and the third node know.
  await cluster.node(peer).powerCut();
  await volume.waitFor((state) => members(state).includes(third));
  const pieces = [...written];
  await cluster.lab.etcd.kill();
  cluster.lab.etcd.erase();
  for (const name of ['n1', third]) await cluster.node(name).powerCut();
  io.kill();
  await cluster.lab.etcd.start();
  await cluster.node(peer).boot();
  await expectStatus('quarantined', [peer]);
  // Garbage beside the good record is told of and harms nothing.
  const records = join(cluster.node(peer).poolDirectory, 'records');
  writeFileSync(join(records, '00000000-0000-4000-8000-000000000000'), '{"schema":1,"vol');
  const refused = await hscli(cluster.node(peer), 'cluster', 'recover', '--yes');
  expect(refused.status).toBe(6);
  expect(refused.stderr).toMatch(new RegExp(`volume ${volume.name}: n1 may know a later record`));
  expect(refused.stderr).toContain('00000000-0000-4000-8000-000000000000 is damaged');
  expect(refused.stderr).toContain('--accept-data-loss');
  await expectStatus('quarantined', [peer]);
  // Of those who know the newest epoch, one that is left is enough.
  rmSync(join(cluster.node('n1').poolDirectory, 'records', volume.id));
  for (const name of ['n1', third]) await cluster.node(name).boot();
  await expectStatus('quarantined');
  // One that is killed on its way leaves nothing that the next one cannot go on from.
  const killed = hscli(cluster.node('n3'), 'cluster', 'recover', '--yes');
  await sleep(700);
  await cluster.node('n3').killDaemon();
  await killed;
  await cluster.node('n3').start();
  // Two at once: one of them does it, and nothing is harmed.
  const both = await Promise.all(
    ['n1', 'n2'].map((name) => hscli(cluster.node(name), 'cluster', 'recover', '--yes')),
  );
  if (both.every(({ status }) => status !== 0)) {
    expect((await hscli(cluster.node('n3'), 'cluster', 'recover', '--yes')).status).toBe(0);
  }
  await expectStatus('ok');
  await expectRead(await volume.attach('n1'), pieces);
  await volume.mended();
  await volume.expectIdenticalCopies();
});
