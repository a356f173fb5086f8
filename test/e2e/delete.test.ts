/** A deleted volume leaves nothing anywhere, also where a node was away. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sharedCluster } from './fixture.ts';
import { block } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import type { TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'] });
const names = ['n1', 'n2', 'n3'];

/** A volume with sealed layers on three nodes and no attachment. */
async function writtenVolume(): Promise<TestVolume> {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await io.write(block(0));
  await volume.seal('n1');
  await io.write(block(1));
  io.kill();
  await volume.detach('n1');
  await volume.mended('n1');
  // One more of each when a member had to be exchanged.
  const files = volume.files('n1');
  expect(files.length).toBeGreaterThanOrEqual(2);
  for (const name of names) await expect.poll(() => volume.files(name)).toEqual(files);
  return volume;
}

/** Everything in a node's pool and run directory that has the volume's id in its path. */
function traces(node: string, volume: TestVolume): string[] {
  const { poolDirectory, runDirectory } = cluster.node(node);
  return [poolDirectory, runDirectory].flatMap((directory) =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.includes(volume.id))
      .map((path) => join(directory, path)),
  );
}

async function expectNoTrace(node: string, volume: TestVolume): Promise<void> {
  await expect.poll(() => traces(node, volume), { timeout: 60_000 }).toEqual([]);
}

async function expectNoRecord(volume: TestVolume, via: string): Promise<void> {
  const { api } = cluster.node(via);
  for (const name of [volume.name, volume.id]) {
    const status = async () => (await api.request('GET', `/v1/volumes/${name}`)).status;
    await expect.poll(status, { timeout: 60_000 }).toBe(404);
  }
}

test('an attached volume is not deleted, and the answer says where it is attached', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n2'));
  await io.write(block(0));
  await volume.waitFor(({ attachments }) => attachments.length === 1, 60_000, 'n1');
  const { status, body } = await cluster
    .node('n1')
    .api.request('DELETE', `/v1/volumes/${volume.name}`);
  expect(status).toBe(409);
  expect(body).toMatchObject({
    code: 'in-use',
    detail: expect.stringContaining('attached on n2'),
    hint: expect.stringContaining(`hscli volume detach ${volume.name} --node n2`),
  });
  const refused = await hscli(cluster.node('n1'), 'volume', 'delete', volume.name, '--yes');
  expect(refused.status).toBe(5);
  expect(refused.stderr).toContain('attached on n2');
  await io.read(block(0));
  io.kill();
  await volume.detach('n2');
  await volume.closed('n1');
  const done = await hscli(cluster.node('n1'), 'volume', 'delete', volume.name, '--yes');
  expect(done).toMatchObject({ status: 0, stderr: '' });
});

test('a deleted volume leaves no file on any node and no record, and its name is free', async () => {
  const volume = await writtenVolume();
  await volume.closed('n2');
  await cluster.node('n2').api.call('DELETE', `/v1/volumes/${volume.name}`);
  await expectNoRecord(volume, 'n3');
  for (const name of names) await expectNoTrace(name, volume);
  const again = await cluster.createVolume('Bronze', { name: volume.name });
  expect(again.id).not.toBe(volume.id);
});

test('a volume that was never attached is deleted at once', async () => {
  const volume = await cluster.createVolume('Gold');
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}`);
  await expectNoRecord(volume, 'n1');
});

test('what lies on a node that is down goes when it returns, the rest at once', async () => {
  const volume = await writtenVolume();
  const files = volume.files('n3');
  await cluster.node('n3').powerCut();
  try {
    await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}`);
    await expect.poll(() => [...volume.files('n1'), ...volume.files('n2')]).toEqual([]);
    expect(volume.files('n3')).toEqual(files);
    // Its name is free; by its id it can be seen waiting, and cannot be used any more.
    const path = `/v1/volumes/${volume.id}`;
    const { api } = cluster.node('n1');
    await expect
      .poll(() => api.call('GET', path), { timeout: 60_000 })
      .toMatchObject({ state: 'deleting', summary: expect.stringMatching(/files remain on n3\./) });
    expect(await api.request('POST', `${path}/attachments`, {})).toMatchObject({ status: 409 });
    await cluster.createVolume('Bronze', { name: volume.name });
    await api.call('DELETE', `/v1/volumes/${volume.name}`);
  } finally {
    await cluster.node('n3').boot();
  }
  await expectNoRecord(volume, 'n1');
  for (const name of names) await expectNoTrace(name, volume);
  expect(existsSync(join(cluster.node('n3').poolDirectory, 'volumes'))).toBe(true);
});
