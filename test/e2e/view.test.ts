/** Snapshots that are attached, what is exported, and reverts of volumes that nobody is connected to. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import type { SnapshotAnswer } from '../../src/api/snapshot-schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces, type Piece } from './fixture-io.ts';
import { hscli, run } from './fixture-run.ts';
import type { Endpoint, Problem, TestVolume, VolumeState } from './fixture-volume.ts';

const nodes = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes, etcdNode: 'n3' });

const pieces = (byte: number, count = 8): Piece[] =>
  Array.from({ length: count }, (_, i) => ({ offset: i * mib, length: 128 * 1024, byte }));

async function write(endpoint: Endpoint, what: readonly Piece[]): Promise<void> {
  const io = cluster.qemuIo(endpoint);
  for (const piece of what) await io.write(piece);
  io.kill();
}

/** Ids of the volumes that the tests made. */
const made = new Set<string>();

/** A volume that n1 serves, with a snapshot `s1` of pieces of 1; then pieces of 2 were written. */
async function snapshotted(): Promise<{ volume: TestVolume; endpoint: Endpoint }> {
  const volume = await cluster.createVolume('Silver');
  made.add(volume.id);
  const endpoint = await volume.attach('n1');
  await write(endpoint, pieces(1));
  await cluster.node('n1').api.call('POST', `/v1/volumes/${volume.name}/snapshots`, { name: 's1' });
  await write(endpoint, pieces(2));
  return { volume, endpoint };
}

async function shown(volume: TestVolume): Promise<SnapshotAnswer> {
  return cluster.node('n1').api.call('GET', `/v1/volumes/${volume.name}/snapshots/s1`);
}

const attachPath = (volume: TestVolume) => `/v1/volumes/${volume.name}/snapshots/s1/attachments`;

/** Files and sockets of everything but these volumes. */
async function leftOvers(): Promise<string[]> {
  return nodes.flatMap((name) => {
    const node = cluster.node(name);
    const folder = join(node.poolDirectory, 'volumes');
    const sockets = join(node.runDirectory, 'attach');
    const files = existsSync(folder) ? readdirSync(folder) : [];
    const ends = existsSync(sockets) ? readdirSync(sockets) : [];
    const found = [...files, ...ends.map((file) => file.replace(/\.sock.*$/, ''))];
    return [...new Set(found)].filter((id) => !made.has(id)).map((id) => `${name}/${id}`);
  });
}

async function nothingLeft(): Promise<void> {
  await expect.poll(() => leftOvers(), { timeout: 60_000 }).toEqual([]);
}

test('an attached snapshot is read, never written, and goes with its attachment', async () => {
  const { volume, endpoint } = await snapshotted();
  const { api } = cluster.node('n1');
  const began = performance.now();
  const n2 = cluster.node('n2');
  const attached = await hscli(n2, 'snapshot', 'attach', `${volume.name}@s1`);
  console.info(`attached in ${Math.round(performance.now() - began)} ms, hscli and all`);
  expect(attached).toMatchObject({ status: 0 });
  const uri = attached.stdout.trim();
  await expectPieces(uri, pieces(1));
  const refused = await run(['qemu-io', '-f', 'raw', '-c', 'write -P 9 0 4k', uri]);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr + refused.stdout).toMatch(/permission denied|read.only/i);
  // Two at once, from elsewhere: both find the one that there is.
  const again = await Promise.all(
    [1, 2].map(() => api.call<Endpoint>('POST', attachPath(volume), { host: 'n2' })),
  );
  expect(again.map((e) => e.uri)).toEqual([uri, uri]);
  expect(await shown(volume)).toMatchObject({ attachedOn: ['n2'], clones: [] });
  const { volumes } = await api.call<{ volumes: VolumeState[] }>('GET', '/v1/volumes?all=true');
  expect(volumes.map((v) => v.name)).toEqual([volume.name]);
  const busy = await api.request<Problem>('DELETE', `/v1/volumes/${volume.name}/snapshots/s1`);
  expect(busy).toMatchObject({ status: 409, body: { code: 'in-use' } });

  // The daemon of its node is killed, and the next one knows it.
  await n2.killDaemon();
  await expectPieces(uri, pieces(1));
  await n2.start();
  expect((await api.call<Endpoint>('POST', attachPath(volume), { host: 'n2' })).uri).toBe(uri);
  await write(endpoint, pieces(3));
  await expectPieces(uri, pieces(1));
  const ended = await hscli(
    cluster.node('n1'),
    'snapshot',
    'detach',
    `${volume.name}@s1`,
    '--node',
    'n2',
  );
  expect(ended).toMatchObject({ status: 0, stderr: '' });
  await nothingLeft();
  expect((await shown(volume)).attachedOn).toEqual([]);
  expect((await run(['qemu-io', '-f', 'raw', '-r', '-c', 'read 0 4k', uri])).status).not.toBe(0);

  // Its host loses its power, and its reader with it: nobody has to clear anything away.
  await api.call('POST', attachPath(volume), { host: 'n2' });
  await n2.powerCut();
  await n2.boot();
  await nothingLeft();
  await expect.poll(async () => (await shown(volume)).attachedOn).toEqual([]);

  // Nor does the volume go while it is shown, with its snapshots or without.
  await n2.api.call('POST', attachPath(volume), { host: 'n2' });
  await volume.detach('n1');
  const whole = `/v1/volumes/${volume.name}?snapshots=true`;
  const kept = await cluster.node('n3').api.request<Problem>('DELETE', whole);
  expect(kept.body).toMatchObject({ code: 'in-use', values: { hosts: ['n2'] } });
  expect(kept.body.hint).toContain(`hscli snapshot detach ${volume.name}@s1 --node n2`);
  // The node that is asked may not have heard of the view yet.
  await cluster.node('n3').api.call('DELETE', `${attachPath(volume)}/n2`);
  await cluster.node('n3').api.call('DELETE', whole);
  made.delete(volume.id);
  await nothingLeft();
});

test('an export leaves nothing behind, whether it ends or is cancelled', async () => {
  const { volume } = await snapshotted();
  const n1 = cluster.node('n1');
  const path = `/v1/volumes/${volume.name}/views`;
  const view = await n1.api.call<{ id: string; endpoint: Endpoint }>('POST', path, {});
  await expectPieces(view.endpoint.uri, pieces(2));
  await n1.api.call('DELETE', `${path}/${view.id}`);
  await n1.api.call('DELETE', `${path}/${view.id}`);
  const file = join(cluster.lab.directory, 'exported.raw');
  const args = ['volume', 'export', volume.name, '--snapshot', 's1', '--to', file];
  expect(await hscli(n1, ...args)).toMatchObject({ status: 0 });
  await expectPieces(file, pieces(1));
  await nothingLeft();
  // Ctrl-C while it is under way and nobody reads on: the view goes before hscli does.
  const program = join(binDirectory, 'hscli');
  const piped = ['volume', 'export', volume.name, '--to', '-'];
  const env = { ...process.env, HYPERSCALE_SOCKET: n1.socketPath };
  const child = spawn(program, piped, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'readable');
  const ended = once(child, 'exit', { signal: AbortSignal.timeout(30_000) });
  child.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  child.stdout.destroy();
  await nothingLeft();
  await rm(file);
});

test('a volume that is attached is reverted when nothing is connected to it', async () => {
  const { volume, endpoint } = await snapshotted();
  const n1 = cluster.node('n1');
  const far = await volume.attach('n2');
  const revert = (via = 'n1') =>
    hscli(cluster.node(via), 'snapshot', 'revert', volume.name, 's1', '--yes');
  for (const used of [endpoint, far]) {
    const consumer = await cluster.consumer(used, used === far ? 'n2' : 'n1');
    const host = used === far ? 'n2' : 'n1';
    const refused = await revert('n3');
    expect(refused).toMatchObject({ status: 5 });
    expect(refused.stderr).toContain(`connections to it on ${host} (1)`);
    await consumer.kill();
  }
  // Nothing was done by what was refused.
  await expectPieces(endpoint.uri, pieces(2));
  await expect.poll(() => revert('n3'), { timeout: 60_000 }).toMatchObject({ status: 0 });
  const old = [endpoint.session, far.session];
  await volume.waitFor(
    ({ attachments }) =>
      attachments.length === 2 && attachments.every(({ session }) => !old.includes(session)),
    60_000,
    'n1',
  );
  const near = await volume.attach('n1');
  await expectPieces(near.uri, pieces(1));
  await expectPieces((await volume.attach('n2')).uri, pieces(1));
  await write(near, pieces(4));
  await volume.detach('n2');
  await volume.detach('n1');
  await n1.api.call('DELETE', `/v1/volumes/${volume.name}?snapshots=true`);
});
