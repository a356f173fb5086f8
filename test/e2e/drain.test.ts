/** A node is emptied while guests write; it can be refused, waited for, and ended. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import type { DrainAnswer } from '../../src/api/drain-schemas.ts';
import type { NodeAnswer } from '../../src/api/schemas.ts';
import type { NodeEvent } from '../../src/api/service.ts';
import { sharedCluster } from './fixture.ts';
import { block } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import { reflections } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3', 'n4'], etcdHost: 'meta' });

const node = (...args: string[]) => hscli(cluster.node('n1'), 'node', ...args);
const shown = (name: string) => cluster.node('n1').api.call<NodeAnswer>('GET', `/v1/nodes/${name}`);
const drainOf = (name: string) =>
  cluster.node('n1').api.call<DrainAnswer>('GET', `/v1/nodes/${name}/drain`);

test('labels are told by the node, and changed by its next start', async () => {
  const n4 = cluster.node('n4');
  expect((await shown('n4')).labels).toEqual({ site: null, rack: null });
  appendFileSync(n4.configFile, 'labels:\n  site: east\n  rack: r4\n');
  await n4.stopDaemon();
  await n4.start();
  await expect.poll(async () => (await shown('n4')).labels).toEqual({ site: 'east', rack: 'r4' });
  expect((await node('list')).stdout).toMatch(/^n4 +up +east\/r4 /m);
});

test('a drain is refused when copies have nowhere to go, and leaves what is used there', async () => {
  expect(await node('drain', 'n9')).toMatchObject({ status: 3 });
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(1));
  const [reflection = ''] = reflections(await volume.withMembers(3, 'n1'));
  const spare = ['n2', 'n3', 'n4'].find((name) => volume.files(name).length === 0) ?? '';
  expect(await node('drain', spare)).toMatchObject({ status: 0 });
  const refused = await node('drain', reflection);
  expect(refused).toMatchObject({ status: 5, stdout: '' });
  expect(refused.stderr).toContain(
    `${volume.name}: Gold asks for 3 copies, and 2 other nodes can hold one`,
  );
  expect((await shown(reflection)).drain).toBeNull();
  // As far as it goes: nothing.
  const partial = await node('drain', reflection, '--partial');
  expect(partial).toMatchObject({ status: 6 });
  expect(partial.stdout).toContain(`${volume.name} cannot leave`);
  expect(reflections(await volume.show('n1'))).toContain(reflection);
  for (const name of [spare, reflection]) {
    expect(await node('undrain', name)).toMatchObject({ status: 0 });
  }

  // The node that serves it: copies are made elsewhere, and the guest is somebody's to move.
  await volume.seal('n1');
  await volume.mended('n1');
  const waits = await node('drain', 'n1');
  expect(waits, waits.stderr).toMatchObject({ status: 6 });
  expect(waits.stdout).toContain(`Attached there: ${volume.name}`);
  expect(waits.stderr).toContain(`hscli volume detach ${volume.name} --node n1`);
  await io.write(block(2));
  expect(await node('undrain', 'n1')).toMatchObject({ status: 0 });
  io.kill();
  await volume.detach('n1');
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}`);
});

test('after Ctrl-C a drain goes on until it is ended', async () => {
  const volume = await cluster.createVolume('Bronze');
  await volume.attach('n1');
  const env = { ...process.env, HYPERSCALE_SOCKET: cluster.node('n1').socketPath };
  const waiting = spawn(join(binDirectory, 'hscli'), ['node', 'drain', 'n1'], { env });
  const ended = once(waiting, 'close');
  await expect.poll(async () => (await drainOf('n1')).state, { interval: 50 }).not.toBe('none');
  waiting.kill('SIGINT');
  expect((await ended)[0]).toBe(130);
  expect((await shown('n1')).drain).not.toBeNull();
  const other = await cluster.createVolume('Bronze');
  expect((await other.tryAttach('n1')).body).toMatchObject({ code: 'not-allowed' });
  expect(await node('undrain', 'n1')).toMatchObject({ status: 0 });
  expect((await shown('n1')).drain).toBeNull();
  await other.attach('n1');
  for (const v of [volume, other]) await v.detach('n1');
});

test('a node is emptied under fio, and can be removed then', async () => {
  const volume = await cluster.createVolume('Silver');
  const endpoint = await volume.attach('n1');
  const consumer = await cluster.consumer(endpoint);
  const idle = await cluster.createVolume('Silver');
  const [gone = ''] = reflections(await volume.withMembers(2, 'n1'));
  const io = cluster.qemuIo(await idle.attach(gone));
  await io.write(block(1));
  io.kill();
  await idle.detach(gone);
  await cluster.underFio(consumer, async () => {
    await volume.seal('n1');
    const drained = await node('drain', gone);
    expect(drained, drained.stderr).toMatchObject({ status: 0 });
    expect(drained.stdout).toContain(`Node ${gone} is drained: no volume has anything there.`);
  });
  for (const v of [volume, idle]) {
    const { report } = await v.mended('n1');
    expect(report.layers.flatMap((l) => l.copies.map((c) => c.node))).not.toContain(gone);
    expect(report.layers.map((l) => l.copies.length)).not.toContain(1);
    expect(v.files(gone)).toEqual([]);
  }
  await volume.expectIdenticalCopies();
  const told = async () => {
    const { api } = cluster.node('n1');
    const { events } = await api.call<{ events: NodeEvent[] }>('GET', '/v1/events?follow=false');
    return events.filter((e) => e.values?.node === gone).map((e) => e.type);
  };
  await expect.poll(told).toEqual(expect.arrayContaining(['node.draining', 'node.drained']));
  expect((await node('list')).stdout).toMatch(new RegExp(`^${gone} +up, draining `, 'm'));

  await cluster.node(gone).powerCut({ silent: true });
  await expect.poll(async () => (await shown(gone)).up, { timeout: 60_000 }).toBe(false);
  const removed = await node('remove', gone, '--yes');
  expect(removed, removed.stderr).toMatchObject({ status: 0 });
  expect(removed.stderr).toContain('Volumes with anything there: -\n');
  await consumer.kill();
  await volume.detach('n1');
});
