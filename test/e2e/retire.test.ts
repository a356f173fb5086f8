/** A node that is gone for good is taken out: nobody waits for it, and it never comes back. */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commandLine } from '../../lab/processes.ts';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';
import { hscli, hyperscaled } from './fixture-run.ts';
import { members, type TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3', 'n4'], etcdHost: 'meta' });

const remove = (via: string, ...args: string[]) =>
  hscli(cluster.node(via), 'node', 'remove', ...args);

async function nodeNames(via: string): Promise<string[]> {
  const answer = await cluster
    .node(via)
    .api.call<{ nodes: { name: string }[] }>('GET', '/v1/nodes');
  return answer.nodes.map((node) => node.name);
}

/** Takes a node down; resolves when its lease has run out everywhere. */
async function lose(name: string, via: string): Promise<void> {
  await cluster.node(name).powerCut({ silent: true });
  const up = async () =>
    (await cluster.node(via).api.call<{ up: boolean }>('GET', `/v1/nodes/${name}`)).up;
  await expect.poll(up, { timeout: 60_000 }).toBe(false);
}

/** Copies of all layers, as `EPOCH NODE`. */
async function copies(volume: TestVolume, via: string): Promise<string[]> {
  const { report } = await volume.show(via);
  return report.layers.flatMap((l) => l.copies.map((c) => `${l.epoch} ${c.node}`));
}

test('a node that is up, or unknown, or in doubt, is not removed', async () => {
  const up = await remove('n1', 'n2', '--yes');
  expect(up).toMatchObject({ status: 5, stdout: '' });
  expect(up.stderr).toMatch(/node n2 is up\n.*stop hyperscaled on n2/);
  expect(await remove('n1', 'n1', '--yes')).toMatchObject({ status: 5 });
  expect(await remove('n1', 'n9', '--yes')).toMatchObject({ status: 3 });
  expect(await remove('n1', '..', '--yes')).toMatchObject({ status: 2 });
});

test('a node without a last copy goes; its copies are made anew, tombstones wait no longer', async () => {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(1));
  await volume.seal('n1');
  await io.write(block(2));
  const gone = members(await volume.withMembers(3, 'n1'))[2] ?? '';
  const dead = await cluster.createVolume('Gold');
  const deadIo = cluster.qemuIo(await dead.attach(gone));
  await deadIo.write(block(1));
  await lose(gone, 'n1');
  deadIo.kill();
  // The dead node wrote one volume, which is deleted as soon as it is taken over.
  const alone = await remove('n1', gone);
  expect(alone).toMatchObject({ status: 2 });
  const done = await remove('n1', gone, '--yes');
  expect(done, done.stderr).toMatchObject({ status: 0, stdout: `Node ${gone} is removed.\n` });
  expect(done.stderr).toContain(`Volumes with anything there: `);
  expect(await nodeNames('n1')).not.toContain(gone);
  const there = (await copies(volume, 'n1')).filter((copy) => copy.endsWith(` ${gone}`));
  expect(there).toEqual([]);
  const state = await volume.mended('n1');
  expect(state.report.layers.every((layer) => layer.copies.length === 3)).toBe(true);
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${dead.name}`);
  const status = async () =>
    (await cluster.node('n1').api.request('GET', `/v1/volumes/${dead.id}`)).status;
  await expect.poll(status, { timeout: 60_000 }).toBe(404);
  const checked = await hscli(cluster.node('n1'), 'cluster', 'fsck');
  expect(checked, checked.stdout).toMatchObject({ status: 0 });
  const again = await remove('n1', gone, '--yes');
  expect(again).toMatchObject({ status: 3 });
  expect(again.stderr).toMatch(/was taken out of the cluster at 20/);

  // It comes back: refused, with nothing of it running. With a new pool it is a new node.
  const node = cluster.node(gone);
  await cluster.lab.network.rebuild(gone);
  const refused = await hyperscaled(node);
  expect(refused.status).toBe(8);
  expect(refused.stderr).toMatch(/pool \S+ of node \S+ was taken out of the cluster at 20/);
  expect(refused.stderr).toMatch(/what to do: .*init-pool/);
  // The watchdog alone may live on; there is nothing for it to watch.
  const left = node.pids().map((pid) => commandLine(pid).join(' '));
  expect(left.filter((line) => !line.includes('/watchdog/'))).toEqual([]);
  for (const entry of readdirSync(node.poolDirectory)) {
    await rm(join(node.poolDirectory, entry), { recursive: true });
  }
  const made = await hyperscaled(node, ['init-pool', '--config', node.configFile]);
  expect(made.status).toBe(0);
  await node.start();
  await expect.poll(() => nodeNames('n1')).toContain(gone);
  await io.write(block(3));
  await io.read(block(1));
  io.kill();
  await volume.detach('n1');
});

test('a node with data that is nowhere else goes only with its loss accepted', async () => {
  const single = await cluster.createVolume('Bronze', { via: 'n1' });
  const singleIo = cluster.qemuIo(await single.attach('n4'));
  await singleIo.write(block(1));
  // The newest layer is on n4 alone, an older one elsewhere too.
  const older = await cluster.createVolume('Silver', { via: 'n1' });
  const olderIo = cluster.qemuIo(await older.attach('n4'));
  await olderIo.write(block(1));
  await older.seal('n4');
  await older.mended('n1');
  await lose('n4', 'n1');
  for (const io of [singleIo, olderIo]) io.kill();

  const refused = await remove('n1', 'n4', '--yes');
  expect(refused).toMatchObject({ status: 5, stdout: '' });
  expect(refused.stderr).toMatch(
    new RegExp(`node n4 holds data that is nowhere else: .*${single.name}: no other member`),
  );
  expect(refused.stderr).not.toContain(`${older.name}:`);
  expect(refused.stderr).toMatch(/what to do: .*--accept-data-loss/);
  expect(await nodeNames('n1')).toContain('n4');
  const api = await cluster.node('n1').api.request('DELETE', '/v1/nodes/n4');
  expect(api).toMatchObject({ status: 409, body: { code: 'not-allowed' } });

  const done = await remove('n1', 'n4', '--yes', '--accept-data-loss');
  expect(done, done.stderr).toMatchObject({ status: 0 });
  expect(done.stderr).toContain(`LOST: data of ${single.name}`);
  expect(done.stdout).toContain(`Nothing is left of volume ${single.name}.`);
  expect(await nodeNames('n1')).not.toContain('n4');
  const { uri } = await older.attach('n1');
  await expectPieces(uri, [block(1)]);
  await older.detach('n1');
  // The volume that is lost can be deleted, and waits for nobody.
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${single.name}`);
  const status = async () =>
    (await cluster.node('n1').api.request('GET', `/v1/volumes/${single.id}`)).status;
  await expect.poll(status, { timeout: 60_000 }).toBe(404);
});

test('a daemon that learns that its pool was taken out ends all that it serves', async () => {
  const volume = await cluster.createVolume('Bronze', { via: 'n1' });
  const io = cluster.qemuIo(await volume.attach('n3'));
  await io.write(block(1));
  await cluster.lab.network.cut('n3');
  const up = async () =>
    (await cluster.node('n1').api.call<{ up: boolean }>('GET', '/v1/nodes/n3')).up;
  await expect.poll(up, { timeout: 60_000 }).toBe(false);
  const done = await remove('n1', 'n3', '--yes', '--accept-data-loss');
  expect(done, done.stderr).toMatchObject({ status: 0 });
  // Its guest lives on: nobody could tell the head, which alone has the volume.
  expect(cluster.node('n3').pids('head')).toHaveLength(1);
  await cluster.lab.network.heal('n3');
  await expect.poll(() => cluster.node('n3').pids('head'), { timeout: 60_000 }).toEqual([]);
  await expect.poll(() => cluster.node('n3').running, { timeout: 60_000 }).toBe(false);
  expect(cluster.node('n3').logTail(60)).toContain('was taken out of the cluster');
  io.kill();
});
