/** Snapshots without end: refused at a stated bound, and no chain that grows without one. */
import { expect, test } from 'vitest';
import type { SnapshotAnswer } from '../../src/api/snapshot-schemas.ts';
import { maxLayersForSeal, maxSnapshots } from '../../src/volume/bounds.ts';
import { sharedCluster } from './fixture.ts';
import type { Problem, VolumeState } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'], etcdNode: 'n2' });
const n1 = () => cluster.node('n1').api;

test('one volume has so many snapshots, and the next one is refused with what to do', async () => {
  const volume = await cluster.createVolume('Bronze');
  await volume.attach('n1');
  await volume.detach('n1');
  const path = `/v1/volumes/${volume.name}/snapshots`;
  const make = (name: string) => n1().request<SnapshotAnswer & Problem>('POST', path, { name });
  for (let i = 0; i < maxSnapshots; i += 8) {
    const made = await Promise.all(Array.from({ length: 8 }, (_, j) => make(`s${i + j}`)));
    for (const { status } of made) expect(status).toBe(201);
  }
  const refused = await make('one-more');
  expect(refused).toMatchObject({ status: 409, body: { code: 'not-allowed' } });
  expect(refused.body.detail).toContain(`${maxSnapshots} snapshots, which is the most`);
  expect(refused.body.hint).toMatch(/Delete some/);
  const listed = async (query: string) =>
    n1().call<{ snapshots: SnapshotAnswer[]; next?: string }>('GET', `${path}?${query}`);
  const first = await listed('limit=200');
  const rest = await listed(`limit=200&after=${first.next}`);
  expect(new Set([...first.snapshots, ...rest.snapshots].map((s) => s.id)).size).toBe(maxSnapshots);
  await n1().call('DELETE', `${path}/s7`);
  expect((await make('one-more')).status).toBe(201);
  await n1().call('DELETE', `/v1/volumes/${volume.name}?snapshots=true`);
});

test('a volume that is snapshotted all the time keeps a chain of bounded length', async () => {
  const rounds = 40;
  const kept = 3;
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  const path = `/v1/volumes/${volume.name}/snapshots`;
  const sealed = (v: VolumeState) => v.report.layers.filter((l) => l.state === 'sealed').length;
  let longest = 0;
  for (let i = 0; i < rounds; i += 1) {
    await io.write({ offset: (i % 8) * 65_536, length: 65_536, byte: 1 + (i % 250) });
    // At the bound it is refused, and goes on when merges have made room.
    await expect
      .poll(async () => (await n1().request('POST', path, { name: `s${i}` })).status, {
        timeout: 60_000,
      })
      .toBe(201);
    if (i >= kept) await n1().call('DELETE', `${path}/s${i - kept}`);
    longest = Math.max(longest, sealed(await volume.show('n1')));
  }
  const { policy, snapshots } = await volume.show('n1');
  console.info(`${rounds} snapshots, ${kept} kept: ${longest} sealed layers at most`);
  expect(snapshots).toBe(kept);
  expect(longest).toBeLessThanOrEqual(maxLayersForSeal);
  const settled = kept + policy.maxLayers;
  await volume.waitFor((v) => sealed(v) <= settled, 60_000, 'n1');
  for (let i = 0; i < 8; i += 1) {
    const last = Math.floor((rounds - 1 - i) / 8) * 8 + i;
    await io.read({ offset: i * 65_536, length: 65_536, byte: 1 + (last % 250) });
  }
  io.kill();
  await volume.detach('n1');
});
