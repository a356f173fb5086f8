/** Snapshots of several volumes at one instant, while they are written on several nodes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { GroupSnapshotAnswer } from '../../src/api/group-snapshot-schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { block } from './fixture-io.ts';
import { run } from './fixture-run.ts';
import { type Problem, TestVolume, type VolumeState } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });
const sizeBytes = 32 * mib;
const writePauseMs = 30;

async function snapshot(volumes: TestVolume[], name: string, via = 'n3') {
  const body = { volumes: volumes.map((v) => v.name), name };
  const { api } = cluster.node(via);
  return (await api.request<GroupSnapshotAnswer & Problem>('POST', '/v1/snapshots', body)).body;
}

/** How many of the numbered blocks, from the first, a snapshot of the volume shows; no other may be there. */
async function blocksIn(volume: TestVolume, name: string): Promise<number> {
  const { api } = cluster.node('n1');
  const source = { volume: volume.name, snapshot: name };
  const clone = `${volume.name}-${name}`;
  const made = await api.call<VolumeState>('POST', '/v1/volumes', { name: clone, source });
  const copy = new TestVolume(cluster.lab, clone, made.id);
  const { uri } = await copy.attach('n1');
  const file = join(cluster.lab.directory, `${clone}.raw`);
  await run(['qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, file]);
  const content = readFileSync(file);
  const isThere = (n: number) => content[block(n).offset] === block(n).byte;
  const count = Array.from({ length: sizeBytes / (128 * 1024) }, (_, n) => n).filter(isThere);
  expect(count).toEqual(count.map((_, i) => i));
  await copy.detach('n1');
  await api.call('DELETE', `/v1/volumes/${clone}`);
  return count.length;
}

test('no write is kept that followed one that is not', async () => {
  const first = await cluster.createVolume('Silver', { sizeBytes });
  const second = await cluster.createVolume('Bronze', { sizeBytes });
  const third = await cluster.createVolume('Bronze', { sizeBytes });
  const writers = [
    cluster.qemuIo(await first.attach('n1')),
    cluster.qemuIo(await second.attach('n2')),
  ];
  for (const volume of [first, second]) {
    await volume.waitFor(({ attachments }) => attachments.length === 1, 60_000, 'n3');
  }
  await third.waitFor(() => true, 60_000, 'n3');
  let isOver = false;
  let written = 0;
  const writing = (async () => {
    for (; !isOver && written < 200; written += 1) {
      for (const writer of writers) await writer.write(block(written));
      // So that there is room for more when the last snapshot is made.
      await sleep(writePauseMs);
    }
  })();
  const names: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    const from = written;
    await expect.poll(() => written).toBeGreaterThan(from + 3);
    const made = await snapshot([first, second, third], name);
    expect(made.snapshots?.map((s) => s.group)).toEqual(Array(3).fill(made.group));
    console.log(`the writes of two volumes on two nodes were held for ${made.heldMs} ms`);
    names.push(name);
  }
  isOver = true;
  await writing;
  for (const name of names) {
    const [a, b] = [await blocksIn(first, name), await blocksIn(second, name)];
    expect(a - b, `${a} and ${b} blocks in snapshot ${name}`).toBeOneOf([0, 1]);
    expect(a).toBeGreaterThan(3);
  }
});

test('it is done for all or for none', async () => {
  const one = await cluster.createVolume('Bronze', { sizeBytes });
  const other = await cluster.createVolume('Bronze', { sizeBytes });
  await one.attach('n1');
  await other.attach('n2');
  for (const volume of [one, other]) {
    await volume.waitFor(({ attachments }) => attachments.length === 1, 60_000, 'n3');
  }
  expect(await snapshot([one], 'taken')).toMatchObject({ snapshots: [{ name: 'taken' }] });
  expect(await snapshot([one, other], 'taken')).toMatchObject({ code: 'exists' });
  expect((await other.show('n2')).snapshots).toBe(0);

  // A writer that stands still: the other's writes go on, and nothing is kept.
  const io = cluster.qemuIo(await one.attach('n1'));
  cluster.node('n2').freeze({ only: 'daemon' });
  const failing = snapshot([one, other], 'half', 'n1');
  for (let n = 0; n < 4; n += 1) await io.write(block(n));
  expect((await failing).status).toBeGreaterThanOrEqual(400);
  await cluster.node('n2').thaw({ only: 'daemon' });
  await one.waitFor((s) => s.snapshots === 1);
  await other.waitFor((s) => s.snapshots === 0, 60_000, 'n2');
  await io.write(block(9));
  const both = await Promise.all([snapshot([one, other], 'x'), snapshot([other, one], 'y', 'n1')]);
  const made = both.filter((answer) => answer.snapshots !== undefined);
  await one.waitFor((s) => s.snapshots === 1 + made.length);
  await other.waitFor((s) => s.snapshots === made.length);
  io.kill();
});
