/** Volumes get another name, another policy and notes while they are used; clones become volumes of their own. */
import { expect, test } from 'vitest';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import { members, type Problem, TestVolume, type VolumeState } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => block(from + i));

async function patch(volume: string, body: object, via = 'n1'): Promise<VolumeState & Problem> {
  const { api } = cluster.node(via);
  return (await api.request<VolumeState & Problem>('PATCH', `/v1/volumes/${volume}`, body)).body;
}

test('copies follow the policy while the volume is written, and no write fails', async () => {
  const volume = await cluster.createVolume('Bronze');
  const consumer = await cluster.consumer(await volume.attach('n1'));
  await cluster.underFio(consumer, async () => {
    expect(await patch(volume.name, { policy: 'gold' })).toMatchObject({
      policy: { name: 'Gold', copies: 3 },
      limits: { from: 'policy', maxIops: 30_000 },
    });
    await volume.waitFor((s) => members(s).length === 3 && s.report.state === 'healthy');
    await patch(volume.name, { policy: 'Silver' }, 'n2');
    await volume.waitFor((s) => members(s).length === 2);
  });
  const { report } = await volume.mended();
  await volume.waitFor((s) => s.report.layers.every((l) => l.copies.length === 2));
  expect(report.copiesWanted).toBe(2);
  await volume.detach('n1');
  await volume.expectIdenticalCopies();
});

test('another name, while it is attached; the old one is free, and nothing is half', async () => {
  const volume = await cluster.createVolume('Silver', { name: 'before' });
  const other = await cluster.createVolume('Bronze', { name: 'taken' });
  const { uri } = await volume.attach('n1');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(1));
  expect(await patch('before', { name: 'taken', metadata: { a: 'b' } })).toMatchObject({
    status: 409,
    code: 'exists',
  });
  expect(await volume.show('n1')).toMatchObject({ name: 'before', metadata: {} });
  expect((await patch('before', { name: 'no/slash' })).code).toBe('bad-input');
  expect((await patch('before', {})).code).toBe('bad-input');
  // Of two at once one wins; the loser is told, and has taken nothing.
  const both = await Promise.all([
    patch(volume.id, { name: 'after' }, 'n1'),
    patch(other.id, { name: 'after' }, 'n2'),
  ]);
  expect(both.filter((b) => b.code === 'exists')).toHaveLength(1);
  const [renamed, kept] = both[0].code === 'exists' ? [other, volume] : [volume, other];
  await patch(kept.id, { name: 'still' }, 'n3');
  await patch(renamed.id, { name: 'after', metadata: { owner: 'anna' } }, 'n2');
  const shown = new TestVolume(cluster.lab, 'after', renamed.id);
  await shown.waitFor((s) => s.id === renamed.id && s.metadata.owner === 'anna', 60_000, 'n3');
  const again = await cluster.createVolume('Bronze', { name: 'before', via: 'n2' });
  expect(again.id).not.toBe(volume.id);
  await io.write(block(2));
  await expectPieces(uri, numbers(1, 3));
  const forgot = await hscli(cluster.node('n2'), 'volume', 'set', 'after', '--forget', 'owner');
  expect(forgot.stdout).toContain('Nothing is noted');
  io.kill();
});

test('a clone is flattened while it is written, and then needs nothing of its parent', async () => {
  const parent = await cluster.createVolume('Bronze');
  const io = cluster.qemuIo(await parent.attach('n1'));
  for (const piece of numbers(0, 8)) await io.write(piece);
  await parent.seal('n1');
  for (const piece of numbers(8, 16)) await io.write(piece);
  const { api } = cluster.node('n1');
  const source = { volume: parent.name };
  const made = await api.call<VolumeState>('POST', '/v1/volumes', { name: 'flat', source });
  const clone = new TestVolume(cluster.lab, 'flat', made.id);
  expect(made).toMatchObject({ parent: parent.name, sharedLayers: 2 });
  await patch('flat', { policy: 'Silver' });

  // It is written on a node that holds nothing of what it shows.
  const endpoint = await clone.attach('n2');
  const writes = cluster.qemuIo(endpoint);
  await writes.write({ ...block(3), byte: 200 });
  await writes.write(block(20));
  const consumer = await cluster.consumer(endpoint);
  const shown = [...numbers(0, 3), ...numbers(4, 16), { ...block(3), byte: 200 }, block(20)];
  await expectPieces(endpoint.uri, shown);
  const flattened = await hscli(cluster.node('n3'), 'volume', 'flatten', 'flat', '--timeout', '60');
  expect(flattened.stderr).toBe('');
  expect(flattened.stdout).toContain('needs nothing of others');
  await clone.waitFor((s) => s.report.state === 'healthy' && s.sharedLayers === 0);
  await expectPieces(endpoint.uri, shown);
  io.kill();
  writes.kill();
  await consumer.kill();

  // The parent has no clone any more: it can be deleted, and its files go.
  await parent.detach('n1');
  await parent.waitFor((s) => s.clones.length === 0);
  await api.call('DELETE', `/v1/volumes/${parent.name}`);
  await expect.poll(() => ['n1', 'n2', 'n3'].flatMap((n) => parent.files(n))).toEqual([]);
  await clone.detach('n2');
  await expectPieces((await clone.attach('n3')).uri, shown);
  await clone.detach('n3');
  await clone.expectIdenticalCopies();
});
