/** The disk of a node is exchanged: one that still works, and one that is lost. The node keeps its name. */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { NodeAnswer } from '../../src/api/schemas.ts';
import { sharedCluster } from './fixture.ts';
import { block } from './fixture-io.ts';
import { hscli, hyperscaled } from './fixture-run.ts';
import type { VolumeState } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdHost: 'meta' });
const n2 = () => cluster.node('n2');
const node = (...args: string[]) => hscli(cluster.node('n1'), 'node', ...args);
const shown = () => cluster.node('n1').api.call<NodeAnswer>('GET', '/v1/nodes/n2');

/** Nodes that have a proven or an open copy of each layer. */
function holders({ report }: VolumeState): string[][] {
  return report.layers.map(({ copies }) =>
    copies.flatMap((c) => (c.state === 'clean' || c.state === 'open' ? [c.node] : [])),
  );
}

/** What an operator does with a new disk: nothing of the old one is left. */
async function newDisk(): Promise<void> {
  await expect.poll(async () => (await shown()).up, { timeout: 60_000 }).toBe(false);
  const removed = await node('remove', 'n2', '--yes');
  expect(removed, removed.stderr).toMatchObject({ status: 0, stdout: 'Node n2 is removed.\n' });
  const { poolDirectory, configFile } = n2();
  for (const entry of readdirSync(poolDirectory)) {
    await rm(join(poolDirectory, entry), { recursive: true });
  }
  expect(await hyperscaled(n2(), ['init-pool', '--config', configFile])).toMatchObject({
    status: 0,
  });
}

test('a disk that works is exchanged with no copy missing at any time, without a reboot', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(1));
  await volume.seal('n1');
  await io.write(block(2));
  const before = (await shown()).pool;
  const drained = await node('drain', 'n2');
  expect(drained, drained.stderr + drained.stdout).toMatchObject({ status: 0 });
  const full = (v: VolumeState) =>
    holders(v).every((at) => at.filter((name) => name !== 'n2').length === 2);
  await volume.waitFor(full, 60_000, 'n1');
  await n2().stopDaemon();
  await newDisk();
  await volume.waitFor((v) => v.state === 'healthy' && full(v), 60_000, 'n1');
  await n2().start();
  await expect.poll(async () => (await shown()).up, { timeout: 60_000 }).toBe(true);
  const now = await shown();
  expect(now.pool).not.toBe(before);
  expect(now.drain).toBeNull();
  await io.write(block(3));
  for (const n of [1, 2, 3]) await io.read(block(n));
  io.kill();
  await volume.detach('n1');

  // The new disk is written to, and read.
  const three = await cluster.createVolume('Gold');
  const far = cluster.qemuIo(await three.attach('n2'));
  await far.write(block(4));
  await three.seal('n2');
  await three.mended('n2');
  await far.read(block(4));
  far.kill();
  await three.detach('n2');
});

test('a disk that is lost is replaced, and what it held comes back to the new one', async () => {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(1));
  await volume.seal('n1');
  await volume.mended('n1');
  await n2().powerCut();
  await io.write(block(2));
  // Another pool under its name is refused as long as the old one is waited for.
  for (const entry of readdirSync(n2().poolDirectory)) {
    await rm(join(n2().poolDirectory, entry), { recursive: true });
  }
  await hyperscaled(n2(), ['init-pool', '--config', n2().configFile]);
  const refused = await hyperscaled(n2());
  expect(refused.status).toBe(8);
  expect(refused.stderr).toMatch(/node n2 is recorded with pool/);
  expect(refused.stderr).toContain('hscli node remove n2');
  await newDisk();
  await n2().boot();
  const back = (v: VolumeState) =>
    v.state === 'healthy' && holders(v).every((at) => at.includes('n2') && at.length === 3);
  await volume.waitFor(back, 60_000, 'n1');
  for (const n of [1, 2]) await io.read(block(n));
  io.kill();
  await volume.detach('n1');
  await volume.mended('n1');
  const checked = await hscli(cluster.node('n1'), 'cluster', 'fsck');
  expect(checked, checked.stdout).toMatchObject({ status: 0 });
});
