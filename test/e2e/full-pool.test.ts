/** A pool that is full, or becomes full while it is written to. */
import { spawnSync } from 'node:child_process';
import { rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { mib, sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';
import { giveSmallPool } from './fixture-small-pool.ts';
import { members, reflections } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], start: false });

/** n2's pool is a small file system of its own. */
let pool: string;
const blocks = Array.from({ length: 40 }, (_, number) => block(number));

beforeAll(async () => {
  pool = giveSmallPool(cluster, 'n2', 128);
  await cluster.lab.start('n1');
});

beforeEach(empty);

/** Fills the pool until only this much is left. */
function fill(leftBytes: number): void {
  const ballast = join(pool, 'ballast');
  for (let size = 0; ; ) {
    const { bavail, bsize } = statfsSync(pool);
    const more = bavail * bsize - leftBytes;
    if (more <= 0) return;
    // The daemon takes and gives back space at the same time; then less is left, or more.
    const args = ['-o', String(size), '-l', String(more), ballast];
    if (spawnSync('fallocate', args).status === 0) size += more;
  }
}

/** Takes the ballast away, and waits until n1 knows. */
async function empty(): Promise<void> {
  rmSync(join(pool, 'ballast'), { force: true });
  await expectFreeBytes((bytes) => bytes > 64 * mib);
}

async function expectFreeBytes(enough: (bytes: number) => boolean): Promise<void> {
  const { api } = cluster.node('n1');
  const known = async () => {
    const { freeBytes } = await api.call<{ freeBytes: number | null }>('GET', '/v1/nodes/n2');
    return freeBytes !== null && enough(freeBytes);
  };
  await expect.poll(known, { timeout: 60_000 }).toBe(true);
}

test('a node whose pool is too full gets no layers, and says so', async () => {
  fill(10 * mib);
  await expectFreeBytes((bytes) => bytes < 16 * mib);
  const body = { name: 'wide', sizeBytes: 64 * mib, policy: 'Gold' };
  expect(await cluster.node('n1').api.request('POST', '/v1/volumes', body)).toMatchObject({
    status: 507,
    body: { code: 'no-space', hint: expect.any(String) },
  });
  const volume = await cluster.createVolume('Silver');
  await volume.attach('n1');
  const { report } = await volume.withMembers(2, 'n1');
  expect(report.layers.flatMap((l) => l.copies.map((c) => c.node))).not.toContain('n2');
  await volume.detach('n1');
  // While n2 knows of the head on n1 it would only wait for it.
  await volume.closed('n2');
  // It has no room for a head's own layer either; the answer comes, and comes soon.
  const { status, body: refused } = await volume.tryAttach('n2');
  expect([status, refused.code]).toEqual([507, 'no-space']);
  expect(refused.detail).toContain('n2');
  expect((await volume.show('n2')).attachments).toEqual([]);
  await volume.attach('n3');
  await volume.detach('n3');
});

test('a reflection whose pool is full is evicted; the write that failed is repeated', async () => {
  const volume = await cluster.createVolume('Gold');
  const endpoint = await volume.attach('n1');
  await volume.withMembers(3, 'n1');
  const io = cluster.qemuIo(endpoint);
  const [first, ...others] = blocks;
  await io.write(first!);
  fill(64 * 1024);
  // A guest pauses at the error and repeats the write; so does this consumer.
  for (const piece of others) {
    await io.write(piece).catch(async () => {
      io.forgetError();
      await volume.waitFor((state) => !reflections(state).includes('n2') && state.head === 'n1');
      await io.write(piece);
    });
  }
  expect(members(await volume.show('n1'))).not.toContain('n2');
  for (const piece of blocks) await io.read(piece);
  io.kill();
  await empty();
  await volume.expectIdenticalCopies();
  await volume.detach('n1');
  await expectPieces((await volume.attach('n2')).uri, blocks);
  await volume.detach('n2');
});

test('a node whose own full pool takes no more lets another member serve', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n2'));
  fill(mib);
  for (const piece of blocks) {
    await io.write({ ...piece, length: 128 * 1024 }).catch(async () => {
      io.forgetError();
      await volume.waitFor((state) => state.head !== 'n2' && state.head !== null);
      await io.write({ ...piece, length: 128 * 1024 });
    });
  }
  // The head may just be on its way.
  const { servesFor } = await volume.waitFor(({ head }) => head !== null && head !== 'n2');
  expect(servesFor).toBe('n2');
  await empty();
  for (const piece of blocks) await io.write(piece);
  for (const piece of blocks) await io.read(piece);
  io.kill();
  await volume.detach('n2');
  await volume.expectIdenticalCopies();
  await expectPieces((await volume.attach('n3')).uri, blocks);
  await volume.detach('n3');
});

test('the head goes on when its own full pool has room again, and has lost nothing', async () => {
  const volume = await cluster.createVolume('Bronze');
  const io = cluster.qemuIo(await volume.attach('n2'));
  const acknowledged = [];
  let refused = 0;
  fill(mib);
  for (const piece of blocks) {
    try {
      await io.write({ ...piece, length: 128 * 1024 });
      acknowledged.push({ ...piece, length: 128 * 1024 });
    } catch {
      io.forgetError();
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(0);
  for (const piece of acknowledged) await io.read(piece);
  await empty();
  for (const piece of blocks) await io.write(piece);
  for (const piece of blocks) await io.read(piece);
  io.kill();
  await volume.detach('n2');
  await expectPieces((await volume.attach('n3')).uri, blocks);
  await volume.detach('n3');
});
