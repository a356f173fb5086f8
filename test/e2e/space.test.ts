/** What volumes take of real disks: told as `du` sees it, warned of, and given back. */
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { ClusterAnswer } from '../../src/api/schemas.ts';
import type { ClusterSpaceAnswer, VolumeSpaceAnswer } from '../../src/api/space-schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces, type Piece } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import { giveSmallPool } from './fixture-small-pool.ts';
import { members } from './fixture-volume.ts';

const names = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes: names, etcdHost: 'meta', start: false });
/** Tables of a layer on each of two nodes, and what changes while it is looked at. */
const small = 3 * mib;

/** n2's pool is a small file system of its own. */
let pool: string;

beforeAll(async () => {
  pool = giveSmallPool(cluster, 'n2', 192);
  await cluster.lab.start('n1');
  // What is written goes to the small pool too.
  await cluster.node('n1').api.call('PUT', '/v1/nodes/n3/drain', { partial: true, by: 'test' });
});

/** What lies below a pool's directory, as `du` counts it; directories themselves do not count. */
function du(node: string, below = ''): number {
  const path = join(cluster.node(node).poolDirectory, below);
  if (!existsSync(path)) return 0;
  const command = 'find "$0" -type f -printf "%b\\n" | paste -sd+ | bc';
  return Number(execFileSync('sh', ['-c', command, `${path}/`]).toString() || 0) * 512;
}

async function space(volume: string): Promise<VolumeSpaceAnswer> {
  return cluster.node('n1').api.call('GET', `/v1/volumes/${volume}/space`);
}

test('what is told is what lies on the disks; a compact gives back what nobody sees', async () => {
  const volume = await cluster.createVolume('Silver');
  const files = () => names.reduce((sum, node) => sum + du(node, `volumes/${volume.id}`), 0);
  const endpoint = await volume.attach('n1');
  const io = cluster.qemuIo(endpoint);
  const pieces: Piece[] = [
    { offset: 0, length: 8 * mib, byte: 1 },
    { offset: 8 * mib, length: 8 * mib, byte: 2 },
    { offset: 16 * mib, length: 16 * mib, byte: 3 },
  ];
  for (const piece of pieces) await io.write(piece);
  const written = await space(volume.name);
  expect(written.virtualBytes).toBe(64 * mib);
  expect(written.heldBytes).toBeGreaterThan(2 * 32 * mib);
  expect(Math.abs(written.heldBytes - files())).toBeLessThan(small);
  // A discard is the volume's at once, and the pool's only where it has one copy.
  await io.command(`discard 0 ${8 * mib}`);
  expect((await space(volume.name)).heldBytes).toBeGreaterThan(2 * 32 * mib);
  await cluster.node('n1').api.call('POST', `/v1/volumes/${volume.name}/snapshots`, { name: 's' });
  await io.command(`discard ${8 * mib} ${16 * mib}`);
  const shown: Piece[] = [
    { offset: 0, length: 24 * mib, byte: 0 },
    { offset: 24 * mib, length: 8 * mib, byte: 3 },
  ];
  // The snapshot needs all but what was discarded before it.
  const { status, stdout, stderr } = await hscli(
    cluster.node('n2'),
    ...['volume', 'compact', volume.name],
  );
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^Volume \S+ takes .* on all nodes; before it took .*\.\n$/);
  const kept = await space(volume.name);
  expect(kept.heldBytes).toBeLessThan(2 * 24 * mib + 2 * small);
  expect(kept.snapshotBytes.atMost).toBeGreaterThan(2 * 24 * mib);
  expect(kept.snapshotBytes.atLeast).toBe(0);
  await expectPieces(endpoint.uri, shown);

  // Without it only what is left is needed, whatever is written meanwhile.
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}/snapshots/s`);
  const more = { offset: 40 * mib, length: 4 * mib, byte: 5 };
  shown.push(more);
  const [compacted] = await Promise.all([
    hscli(cluster.node('n1'), 'volume', 'compact', volume.name),
    io.write(more),
  ]);
  expect(compacted.status).toBe(0);
  const last = await space(volume.name);
  expect(last.heldBytes).toBeLessThan(2 * 12 * mib + 2 * small);
  expect(Math.abs(last.heldBytes - files())).toBeLessThan(small);
  await expectPieces(endpoint.uri, shown);
  await volume.expectIdenticalCopies();
  // All of it, on both nodes, and nothing twice.
  const all: ClusterSpaceAnswer = await cluster.node('n1').api.call('GET', '/v1/space');
  for (const { node, layerBytes, garbageBytes, ownBytes, reserveBytes } of all.nodes) {
    const told = layerBytes + garbageBytes + (ownBytes ?? 0) + (reserveBytes ?? 0);
    expect(Math.abs(told - du(node)), node).toBeLessThan(small);
  }
  const n2 = all.nodes.find((n) => n.node === 'n2');
  expect(n2).toMatchObject({ measured: true, promisedBytes: 64 * mib, totalBytes: 192 * mib });
  const page = await hscli(cluster.node('n1'), 'space', '--volumes');
  expect(page.stdout).toContain(volume.name);
  io.kill();
  await volume.detach('n1');
});

test('a pool that fills is warned of before it is full, and the warning ends with room', async () => {
  const { api } = cluster.node('n1');
  const said = async () => {
    const { findings } = await api.call<ClusterAnswer>('GET', '/v1/cluster');
    return findings.map(({ what }) => what).join('\n');
  };
  const fill = (leftBytes: number) => {
    const { bavail, bsize } = statfsSync(pool);
    const more = String(bavail * bsize - leftBytes);
    execFileSync('fallocate', ['-l', more, join(pool, 'guest')]);
  };
  await expect.poll(said).not.toContain('The pool of');
  fill(32 * mib);
  await expect.poll(said).toMatch(/The pool of n2 is 8\d % full/);
  rmSync(join(pool, 'guest'));
  fill(8 * mib);
  await expect.poll(said).toMatch(/The pool of n2 is 9\d % full.* Guests that write there/);
  rmSync(join(pool, 'guest'));
  await expect.poll(said).not.toContain('The pool of');
  const types = async () => {
    const path = '/v1/events?follow=false';
    const { events } = await api.call<{ events: { type: string }[] }>('GET', path);
    return events.map((e) => e.type).filter((type) => type.startsWith('pool.'));
  };
  await expect.poll(async () => (await types()).at(-1)).toBe('pool.relieved');
  expect((await types())[0]).toBe('pool.filling');
  expect(await types()).toContain('pool.critical');
});

test('a node whose pool has no byte left still fences a writer that is gone', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  const piece = { offset: 0, length: mib, byte: 7 };
  expect(members(await volume.withMembers(2, 'n1'))).toEqual(['n1', 'n2']);
  await io.write(piece);
  // Nobody is there to take n2 out of the write set while its pool fills.
  await cluster.node('n1').killDaemon();
  execFileSync('sh', ['-c', `cat /dev/zero >> ${join(pool, 'guest')} || true`]);
  expect(statfsSync(pool).bavail).toBe(0);
  // Its daemon starts there, too.
  await cluster.node('n2').killDaemon();
  await cluster.node('n2').start();
  await cluster.node('n1').powerCut();
  await cluster.node('n3').api.call('DELETE', '/v1/nodes/n3/drain');
  const { uri } = await volume.attach('n3');
  await expectPieces(uri, [piece]);
  expect(members(await volume.show('n3'))).toEqual(['n3']);
  rmSync(join(pool, 'guest'));
  io.kill();
  await volume.detach('n3');
});
