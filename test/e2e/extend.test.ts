/** Volumes grow while they are used: guests see it, nothing is lost, whatever dies meanwhile. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import type { ExtendedAnswer } from '../../src/api/extend-schemas.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import { mib, sharedCluster } from './fixture.ts';
import type { Piece } from './fixture-io.ts';
import { run } from './fixture-run.ts';
import { type Endpoint, type Problem, reflections, type TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });

async function extend(volume: TestVolume, sizeBytes: number, via: string): Promise<ExtendedAnswer> {
  return cluster.node(via).api.call('POST', `/v1/volumes/${volume.name}/extend`, { sizeBytes });
}

async function refusal(volume: TestVolume, sizeBytes: unknown): Promise<Problem> {
  const { api } = cluster.node('n1');
  const path = `/v1/volumes/${volume.name}/extend`;
  return (await api.request<Problem>('POST', path, { sizeBytes })).body;
}

/** What a new connection to an attachment sees. */
async function sizeSeen({ uri }: Endpoint): Promise<number> {
  return Number((await run(['nbdinfo', '--size', uri])).stdout);
}

const piece = (offset: number, byte: number): Piece => ({ offset, length: 4096, byte });

test('a guest sees its disks grow, beside the head and behind a proxy, busy or at rest', async () => {
  const near = await cluster.createVolume('Silver');
  const far = await cluster.createVolume('Bronze');
  const place = await near.attach('n1');
  await far.attach('n2');
  const proxied = await far.attach('n1');
  const libvirt = await LabLibvirt.start(cluster.node('n1'));
  cluster.atEnd(() => libvirt.stop());
  const disk = ({ socket, session }: Endpoint, serial: string, target: string) =>
    diskXml({
      source: { type: 'network', socket, export: session },
      serial,
      target,
      bus: 'virtio',
    });
  const guest = await LabGuest.create({
    name: 'web1',
    directory: join(cluster.lab.directory, 'guest'),
    disks: [disk(place, near.id, 'vda'), disk(proxied, far.id, 'vdb')],
  });
  cluster.atEnd(() => guest.destroy(libvirt).catch(() => undefined));
  await guest.start(libvirt);
  await guest.counted('vda', 3);
  await guest.counted('vdb', 3);
  const sees = (vda: number, vdb: number) =>
    guest.disksWhen((disks) => disks.map((d) => d.bytes).join() === [vda, vdb].join(), 60_000);

  // Asked of a node that has no part in it.
  expect(await extend(near, 128 * mib, 'n3')).toMatchObject({
    sizeBytes: 128 * mib,
    volume: { name: near.name, sizeBytes: 128 * mib, head: 'n1' },
    consumers: [{ node: 'n1', kind: 'domain', name: 'web1 vda', problem: null }],
  });
  await sees(128 * mib, 64 * mib);
  expect((await extend(far, 96 * mib, 'n1')).consumers).toEqual([
    { node: 'n1', kind: 'domain', name: 'web1 vdb', problem: null },
  ]);
  await sees(128 * mib, 96 * mib);
  await guest.counted('vda', 3);
  await guest.counted('vdb', 3);

  // A guest that asks nothing of its disk is told as well.
  await libvirt.virsh.run(['suspend', '--domain', 'web1']);
  expect((await extend(far, 160 * mib, 'n2')).consumers).toMatchObject([{ problem: null }]);
  await libvirt.virsh.run(['resume', '--domain', 'web1']);
  await sees(128 * mib, 160 * mib);
  await guest.counted('vdb', 3);
  guest.assertNoTrouble();

  // Nobody can be told now; the node does it by itself when libvirt is back.
  await libvirt.kill();
  const { sizeBytes, consumers } = await extend(near, 192 * mib, 'n1');
  expect(sizeBytes).toBe(192 * mib);
  const problem = expect.stringMatching(/libvirt .* does not answer/);
  expect(consumers).toMatchObject([{ node: 'n1', kind: 'host', problem }]);
  await libvirt.start();
  await sees(192 * mib, 160 * mib);
  await guest.counted('vda', 3);
  guest.assertNoTrouble();
  await guest.destroy(libvirt);
});

test('it grows while a member is dead and when its daemon is killed, and stays what it was', async () => {
  const [n1, n2] = [cluster.node('n1'), cluster.node('n2')];
  const volume = await cluster.createVolume('Silver');
  const idle = await cluster.createVolume('Silver');
  expect(await extend(idle, 72 * mib, 'n2')).toMatchObject({ sizeBytes: 72 * mib, consumers: [] });
  expect(await sizeSeen(await idle.attach('n1'))).toBe(72 * mib);
  await idle.detach('n1');

  const endpoint = await volume.attach('n1');
  const io = cluster.qemuIo(endpoint);
  const pieces: Piece[] = [];
  /** Writes what is kept, at the end of what there is; behind it there were zeros. */
  const writeUpTo = async (sizeBytes: number) => {
    const byte = pieces.length + 1;
    const fresh = cluster.qemuIo(endpoint);
    const last = { offset: sizeBytes - mib, length: mib, byte };
    if (pieces.length > 0) await fresh.read({ ...last, byte: 0 });
    await fresh.write(last);
    await fresh.write(piece(byte * mib, byte));
    pieces.push({ ...last, offset: sizeBytes - mib }, piece(byte * mib, byte));
    fresh.kill();
  };
  await writeUpTo(64 * mib);

  const [member = ''] = reflections(await volume.withMembers(2, 'n1'));
  // No graceful news of its death: the writes hang until it is evicted, and so does the extend.
  cluster.node(member).freeze({ only: 'replica-server' });
  expect((await extend(volume, 80 * mib, 'n1')).sizeBytes).toBe(80 * mib);
  await cluster.node(member).thaw({ only: 'replica-server' });
  await writeUpTo(80 * mib);

  // Two at once: the larger one wins, the other is done before or told why not.
  const [larger, smaller] = await Promise.allSettled([
    extend(volume, 96 * mib, 'n1'),
    extend(volume, 88 * mib, 'n2'),
  ]);
  expect(larger).toMatchObject({ status: 'fulfilled', value: { sizeBytes: 96 * mib } });
  if (smaller.status === 'rejected')
    expect(String(smaller.reason)).toMatch(/cannot become smaller/);
  expect(await sizeSeen(endpoint)).toBe(96 * mib);
  await writeUpTo(96 * mib);

  // The daemon of the writer dies between the prepare and the confirm.
  const { epoch } = await volume.waitFor((s) => s.report.state === 'healthy');
  n2.freeze({ only: 'daemon' });
  cluster.node('n3').freeze({ only: 'daemon' });
  const cut = extend(volume, 112 * mib, 'n1').then(String, (error: unknown) => String(error));
  await volume.waitFor((s) => s.epoch > epoch, 60_000, 'n1');
  await n1.killDaemon();
  await cut;
  for (const node of [n2, cluster.node('n3')]) await node.thaw({ only: 'daemon' });
  expect([96 * mib, 112 * mib]).toContain(await sizeSeen(endpoint));
  await n1.start();
  expect((await extend(volume, 112 * mib, 'n1')).sizeBytes).toBe(112 * mib);
  expect(await sizeSeen(endpoint)).toBe(112 * mib);
  await writeUpTo(112 * mib);

  for (const wrong of [96 * mib, 112 * mib + 1, 2 ** 60, -1, '1G', null]) {
    expect((await refusal(volume, wrong)).code).toBe('bad-input');
  }
  // Layers of many sizes are merged, and show the same.
  for (let size = 120; size <= 168; size += 8) {
    await extend(volume, size * mib, 'n1');
    await writeUpTo(size * mib);
  }
  const merged = await volume.waitFor((s) => (s.report.layers[0]?.epoch ?? 1) > 1, 60_000);
  expect(merged.sizeBytes).toBe(168 * mib);
  await io.read(piece(64 * mib - 4096, 1));
  io.kill();
  const reader = cluster.qemuIo(endpoint);
  for (const kept of pieces) await reader.read(kept);
  reader.kill();
  const verified = await n1.hscli<{ result: string }>('volume', 'verify', volume.name, '--seal');
  expect(verified.result).toBe('equal');
  await volume.expectIdenticalCopies();
  await volume.detach('n1');
  const path = `/v1/volumes/${volume.name}`;
  expect((await n1.api.request('DELETE', path)).status).toBe(204);
  expect(['conflict', 'not-found']).toContain((await refusal(volume, 256 * mib)).code);
});
