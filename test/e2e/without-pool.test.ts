/** A node without a pool uses volumes, which other nodes serve for it; it holds nothing of them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { BackupAnswer, EpisodeAnswer } from '../../src/api/backup-schemas.ts';
import type { EndpointAnswer, NodeAnswer } from '../../src/api/schemas.ts';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';
import { members, type TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({
  nodes: ['n1', 'n2', 'n4'],
  etcdHost: 'etcd',
  config: (directory, node) => {
    const target = (name: string) => ({
      backup: { targets: { [name]: { directory: join(directory, name) } } },
    });
    if (node === 'n4') return { pool: 'none', ...target('tape') };
    return node === 'n2' ? target('nas') : {};
  },
});

const blocks = Array.from({ length: 20 }, (_, number) => block(number));
let volume: TestVolume;

/** `hscli ARGS --json` on the node without a pool. */
const ask = <T>(...args: string[]): Promise<T> => cluster.node('n4').hscli<T>(...args);

async function expectNothingHeld({ name }: TestVolume): Promise<void> {
  const shown = await cluster.node('n4').api.call<TestVolume>('GET', `/v1/volumes/${name}`);
  const { report } = shown as unknown as Awaited<ReturnType<TestVolume['show']>>;
  expect(report.layers.flatMap((l) => l.copies.map((c) => c.node))).not.toContain('n4');
  const state = join(cluster.node('n4').directory, 'state');
  const held = ['volumes', 'spares', 'imports', 'reserve'].flatMap((part) =>
    existsSync(join(state, part)) ? readdirSync(join(state, part)) : [],
  );
  expect(held).toEqual([]);
  expect(cluster.node('n4').pids('head')).toEqual([]);
}

beforeAll(async () => {
  for (const target of ['nas', 'tape']) mkdirSync(join(cluster.lab.directory, target));
  volume = await cluster.createVolume('Silver', { via: 'n4' });
});

test('an idle volume that is attached there is served by a node with a pool', async () => {
  const endpoint = await volume.attach('n4');
  const io = cluster.qemuIo(endpoint);
  for (const piece of blocks) await io.write(piece);
  const open = await volume.withMembers(2, 'n4');
  expect(open).toMatchObject({ servesFor: 'n4', attachments: [{ host: 'n4' }] });
  expect(members(open)[0]).toBe(open.head);
  expect(await volume.attach('n4')).toEqual(endpoint);

  await ask('snapshot', 'create', volume.name, 's');
  await io.write({ ...block(0), byte: 255 });
  const view = await ask<EndpointAnswer>('snapshot', 'attach', `${volume.name}@s`);
  await expectPieces(view.uri, blocks);
  await ask('snapshot', 'detach', `${volume.name}@s`);
  await ask('volume', 'clone', `${volume.name}@s`, 'clone');
  const clone = await ask<EndpointAnswer>('volume', 'attach', 'clone');
  await expectPieces(clone.uri, blocks);
  await ask('volume', 'detach', 'clone');
  await io.read({ ...block(0), byte: 255 });
  io.kill();
  await volume.detach('n4');
  await volume.closed('n4');
  await expectNothingHeld(volume);
  const { nodes } = await ask<{ nodes: NodeAnswer[] }>('node', 'list');
  const n4 = nodes.find((n) => n.name === 'n4');
  expect(n4).toMatchObject({ pool: null, up: true, totalBytes: 0, freeBytes: 0, heads: [] });
});

test('images, backups and restores that are asked for there are made by a node that can', async () => {
  const file = join(cluster.lab.directory, 'disk.raw');
  const pattern = blocks.flatMap((b) => ['-c', `write -P ${b.byte} ${b.offset} ${b.length}`]);
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', file, '8M']);
  execFileSync('qemu-io', ['-f', 'raw', ...pattern, file]);
  await ask('image', 'import', file, '--name', 'i');
  const { images } = await ask<{ images: { name: string }[] }>('image', 'list');
  expect(images.map((i) => i.name)).toEqual(['i']);
  await ask('volume', 'create', 'of-image', '--image', 'i');
  const made = await ask<EndpointAnswer>('volume', 'attach', 'of-image');
  await expectPieces(made.uri, blocks);
  await ask('volume', 'detach', 'of-image');

  await ask('backup', 'init', 'nas');
  const wish = ['backup', 'create', 'of-image', '--name', 'b', '--target'];
  expect(await ask<EpisodeAnswer>(...wish, 'nas')).toMatchObject({ name: 'b', target: 'nas' });
  const { backups } = await ask<{ backups: BackupAnswer[] }>('backup', 'list', '--target', 'nas');
  const [backup] = backups;
  expect(backup).toMatchObject({ name: 'b', volumeName: 'of-image' });
  expect(await ask('backup', 'verify', 'nas')).toMatchObject({ backups: 1, damaged: [] });
  await ask('backup', 'restore', `nas/${backup?.id}`, '--name', 'restored');
  const restored = await ask<EndpointAnswer>('volume', 'attach', 'restored');
  await expectPieces(restored.uri, blocks);
  await ask('volume', 'detach', 'restored');
  await expect(ask('backup', 'list', '--target', 'attic')).rejects.toThrow(
    /no backup target attic/,
  );

  // What only this node can write is read from the others.
  await ask('backup', 'init', 'tape');
  expect(await ask<EpisodeAnswer>(...wish, 'tape')).toMatchObject({ target: 'tape' });
  expect(await ask('backup', 'verify', 'tape')).toMatchObject({ backups: 1, damaged: [] });
  const restore = ask('backup', 'restore', 'tape', '--volume', 'of-image', '--name', 'no');
  await expect(restore).rejects.toThrow(/no node has a pool and the backup target tape/);
  await expectNothingHeld(volume);
});

test('a power cut of the node that serves is a pause', async () => {
  const consumer = await cluster.consumer(await volume.attach('n4'), 'n4');
  const { head: before } = await volume.withMembers(2, 'n4');
  await cluster.underFio(consumer, () => cluster.node(before ?? '').powerCut({ silent: true }));
  const after = await volume.show('n4');
  expect(after).toMatchObject({ servesFor: 'n4', attachments: [{ host: 'n4' }] });
  expect(after.head).not.toBe(before);
  await expectNothingHeld(volume);
  await consumer.kill();
  await volume.detach('n4');
  await volume.closed('n4');
});
