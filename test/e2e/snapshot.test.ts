/** Snapshots and clones: they show what was, share what they can, and leave nothing behind. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Answer } from '../../lab/api.ts';
import type { VolumeAnswer } from '../../src/api/schemas.ts';
import type { SnapshotAnswer } from '../../src/api/snapshot-schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces, type Piece } from './fixture-io.ts';
import { hscli, run } from './fixture-run.ts';
import {
  type Endpoint,
  members,
  type Problem,
  TestVolume,
  type VolumeState,
} from './fixture-volume.ts';

type Listed = { snapshots: SnapshotAnswer[] };

const nodes = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes, etcdNode: 'n3' });

/** Beyond what fio writes. */
const begin = 8 * mib;

function pieces(byte: number, count = 16, every = 1): Piece[] {
  return Array.from({ length: count }, (_, i) => ({
    offset: begin + i * every * 128 * 1024,
    length: 128 * 1024,
    byte,
  }));
}

async function write(endpoint: Endpoint, what: readonly Piece[]): Promise<void> {
  const io = cluster.qemuIo(endpoint);
  for (const piece of what) await io.write(piece);
  io.kill();
}

async function snapshot(volume: TestVolume, name: string, via = 'n1'): Promise<SnapshotAnswer> {
  return cluster.node(via).api.call('POST', `/v1/volumes/${volume.name}/snapshots`, { name });
}

async function clone(
  of: { volume: string; snapshot?: string },
  name: string,
  options: { via?: string; policy?: string; sizeBytes?: number } = {},
): Promise<TestVolume> {
  const { via = 'n1', ...rest } = options;
  const body = { name, source: of, ...rest };
  const made = await cluster.node(via).api.call<VolumeAnswer>('POST', '/v1/volumes', body);
  return new TestVolume(cluster.lab, name, made.id);
}

async function remove(volume: TestVolume, query = ''): Promise<void> {
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}${query}`);
}

async function all(): Promise<VolumeAnswer[]> {
  const { api } = cluster.node('n1');
  return (await api.call<{ volumes: VolumeAnswer[] }>('GET', '/v1/volumes?all=true')).volumes;
}

/** Files of a record in the pools of all nodes, by its id. */
function filesOf(id: string): string[] {
  return nodes.flatMap((node) => {
    const directory = join(cluster.node(node).poolDirectory, 'volumes', id);
    return existsSync(directory) ? readdirSync(directory).map((name) => `${node}/${name}`) : [];
  });
}

/** No record, no file: as if it had never been. */
async function nothingLeft(...ids: string[]): Promise<void> {
  await expect
    .poll(async () => (await all()).filter((v) => ids.includes(v.id)).map((v) => v.name), {
      timeout: 60_000,
    })
    .toEqual([]);
  await expect.poll(() => ids.flatMap(filesOf), { timeout: 60_000 }).toEqual([]);
}

async function refusal(
  answer: Promise<Answer<unknown>>,
): Promise<Pick<Problem, 'code' | 'detail'>> {
  const { code, detail } = (await answer).body as Problem;
  return { code, detail };
}

function sealed(state: VolumeState): VolumeState['report']['layers'] {
  return state.report.layers.filter((layer) => layer.state === 'sealed');
}

/** Rejects, saying where, when two endpoints do not show the same. */
async function expectSame(a: Endpoint, b: Endpoint): Promise<void> {
  const compared = await run(['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', a.uri, b.uri]);
  expect(compared).toMatchObject({ status: 0 });
}

test('a clone shows what was written before the snapshot, beside the original under load', async () => {
  const volume = await cluster.createVolume('Silver');
  const endpoint = await volume.attach('n1');
  const consumer = await cluster.consumer(endpoint);
  await write(endpoint, pieces(1));
  let near: TestVolume | undefined;
  let far: TestVolume | undefined;
  const holders = members(await volume.withMembers(2, 'n1'));
  const empty = nodes.find((node) => !holders.includes(node)) ?? '';
  const fio = await cluster.underFio(consumer, async () => {
    await snapshot(volume, 's1', 'n2');
    await write(endpoint, pieces(2, 8));
    near = await clone({ volume: volume.name, snapshot: 's1' }, 'near', { via: 'n3' });
    far = await clone({ volume: volume.name, snapshot: 's1' }, 'far', { policy: 'Bronze' });
    const nearEnd = await near.attach('n1');
    const farEnd = await far.attach(empty);
    await expectPieces(nearEnd.uri, pieces(1));
    await expectPieces(farEnd.uri, pieces(1));
    await write(nearEnd, pieces(3, 4));
    await expectPieces(farEnd.uri, pieces(1));
    await expectPieces(nearEnd.uri, [...pieces(3, 4), ...pieces(1).slice(4)]);
    await write(farEnd, pieces(4, 2));
  });
  console.info(`longest write while a snapshot was made and cloned: ${fio.write.maxMs} ms`);
  const uri = consumer.uri;
  await expectPieces(uri, [...pieces(2, 8), ...pieces(1).slice(8)]);
  // What it shares is copied to where it is read.
  await far?.waitFor(
    (state) =>
      sealed(state).every((l) => l.copies.some((c) => c.node === empty && c.state === 'clean')),
    60_000,
  );
  await consumer.kill();
  await volume.detach('n1');
  await near?.detach('n1');
  await far?.detach(empty);

  await remove(volume, '?snapshots=true');
  expect((await all()).find((v) => v.id === volume.id)?.role).toBe('base');
  const farEnd = await (far as TestVolume).attach('n2');
  await expectPieces(farEnd.uri, [...pieces(4, 2), ...pieces(1).slice(2)]);
  await far?.detach('n2');
  await remove(near as TestVolume);
  await remove(far as TestVolume);
  await nothingLeft(volume.id, near?.id ?? '', far?.id ?? '');
});

test('a snapshot deleted between others gives its space back; a revert makes what was', async () => {
  const { api } = cluster.node('n1');
  const volume = await cluster.createVolume('Silver');
  const path = `/v1/volumes/${volume.name}`;
  const endpoint = await volume.attach('n1');
  for (const [index, name] of ['a', 'b', 'c'].entries()) {
    await write(endpoint, pieces(index + 1, 64));
    await snapshot(volume, name, nodes[index]);
  }
  await api.call('POST', `${path}/extend`, { sizeBytes: 80 * mib });
  await write(endpoint, pieces(4, 32));
  const held = async (): Promise<number> => {
    const { snapshots } = (await api.call('GET', `${path}/snapshots`)) as Listed;
    return snapshots.reduce((sum, { bytes }) => sum + (bytes ?? Number.NaN), 0);
  };
  await expect.poll(held, { timeout: 60_000 }).toBeGreaterThan(24 * mib);
  const before = await held();

  await api.call('PATCH', `${path}/snapshots/b`, { protected: true });
  const gone = api.request('DELETE', `${path}/snapshots/b`);
  expect(await refusal(gone)).toMatchObject({ code: 'not-allowed' });
  await api.call('PATCH', `${path}/snapshots/b`, { protected: false });
  await api.call('DELETE', `${path}/snapshots/b`);
  await expect.poll(held, { timeout: 60_000 }).toBeLessThan(before - 7 * mib);
  // Its files go when the head has let go of them.
  const stray = async (): Promise<string[]> => {
    const { report } = await volume.show('n1');
    const known = report.layers.map(({ epoch, id }) => `${epoch}-${id}.qcow2`);
    return volume.files('n1').filter((file) => !known.includes(file));
  };
  await expect.poll(stray, { timeout: 60_000 }).toEqual([]);
  const ofA = await clone({ volume: volume.name, snapshot: 'a' }, 'of-a');
  const ofC = await clone({ volume: volume.name, snapshot: 'c' }, 'of-c', { via: 'n2' });
  await expectPieces((await ofA.attach('n2')).uri, pieces(1, 64));
  const endOfC = await ofC.attach('n2');
  await expectPieces(endOfC.uri, pieces(3, 64));
  await expectPieces(endpoint.uri, [...pieces(4, 32), ...pieces(3, 64).slice(32)]);

  const revert = (name: string) => api.request('POST', `${path}/snapshots/${name}/revert`);
  // One that is attached is reverted too while nothing is connected to it (view.test.ts).
  await volume.detach('n1');
  expect(await refusal(revert('a'))).toMatchObject({
    code: 'in-use',
    detail: /newer snapshots: c/,
  });
  expect((await revert('c')).body).toMatchObject({ sizeBytes: 64 * mib });
  await expectSame(await volume.attach('n3'), endOfC);
  await ofA.detach('n2');
  await ofC.detach('n2');
  await volume.detach('n3');
  expect(await refusal(api.request('DELETE', path))).toMatchObject({ code: 'in-use' });
  for (const one of [ofA, ofC]) await remove(one);
  await remove(volume, '?snapshots=true');
  await nothingLeft(volume.id, ofA.id, ofC.id);
});

test('one of two callers gets a name; what cannot be is refused and changes nothing', async () => {
  const [n1, n2] = [cluster.node('n1'), cluster.node('n2')];
  const volume = await cluster.createVolume('Silver');
  await volume.attach('n1');
  const path = `/v1/volumes/${volume.name}`;
  const both = await Promise.all(
    [n1, n2].map(({ api }) => api.request<Problem>('POST', `${path}/snapshots`, { name: 'same' })),
  );
  expect(both.map((a) => a.status).sort()).toEqual([201, 409]);
  expect(both.find((a) => a.status === 409)?.body.code).toBe('exists');
  const clones = await Promise.all(
    [n1, n2].map(({ api }) =>
      api.request<Problem & { id: string }>('POST', '/v1/volumes', {
        name: 'twin',
        source: { volume: volume.name, snapshot: 'same' },
      }),
    ),
  );
  expect(clones.map((a) => a.status).sort()).toEqual([201, 409]);
  const small = { name: 'small', source: { volume: volume.name }, sizeBytes: 32 * mib };
  expect(await refusal(n1.api.request('POST', '/v1/volumes', small))).toMatchObject({
    code: 'bad-input',
  });
  const unknown = { name: 'of-none', source: { volume: volume.name, snapshot: 'none' } };
  expect(await refusal(n1.api.request('POST', '/v1/volumes', unknown))).toMatchObject({
    code: 'not-found',
  });
  const again = await hscli(n1, 'volume', 'clone', `${volume.name}@same`, 'twin');
  expect(again).toMatchObject({ status: 5, stdout: '' });
  // n2 may have made it.
  const shown = await volume.waitFor(({ clones }) => clones.includes('twin'), 60_000, 'n1');
  expect(shown.snapshotList.map((s) => s.name)).toEqual(['same']);
  expect(shown.clones).toEqual(['twin']);
  await volume.detach('n1');
  await remove(new TestVolume(cluster.lab, 'twin', ''));
  await remove(volume, '?snapshots=true');
  await nothingLeft(volume.id);
});

test('the drivers of the original product make snapshots and clones, and delete them', async () => {
  const n1 = cluster.node('n1');
  const [volumeId, snapshotId, cloneId] = [randomUUID(), randomUUID(), randomUUID()];
  const name = `volume-${volumeId}`;
  const volume = await cluster.createVolume('Silver', { name, sizeBytes: 1024 * mib });
  const endpoint = await volume.attach('n1');
  await write(endpoint, pieces(7));
  const message = async (exchange: string, token: string, body: object): Promise<void> => {
    const argument = {
      operation: 'message',
      ...{ exchange_name: exchange, msg_token: token, routing_key: null, msg_body: body },
    };
    const { stdout, ...ended } = await hscli(n1, JSON.stringify(argument));
    expect({ ...ended, code: JSON.parse(stdout).err_code }).toEqual({
      ...{ status: 0, stderr: '', code: 0 },
    });
  };
  const create = {
    ...{ vdisk_id_str: `{${volumeId}}`, snapshot_id_str: `{${snapshotId}}`, user_initiated: 1 },
    snapshot_name: `snapshot-${snapshotId}`,
  };
  const token = 'hyperscale.storage.nfs.volume.snapshot.create';
  await message('hyperscale-storage', token, create);
  await message('hyperscale-storage', token, create);
  await write(endpoint, pieces(8));
  const dm = (what: string, body: object) =>
    message('hyperscale-datanode', `hyperscale.storage.dm.${what}`, body);
  await dm('volume.clone.create', {
    ...{ volume_guid: `{${cloneId}}`, parent_volume_guid: `{${volumeId}}`, volume_qos: 1 },
    ...{ version_name: `{${snapshotId}}`, volume_raw_size: 2 },
  });
  const made = new TestVolume(cluster.lab, `volume-${cloneId}`, '');
  expect(await made.show('n1')).toMatchObject({ parent: name, sizeBytes: 2048 * mib });
  await expectPieces((await made.attach('n2')).uri, pieces(7));
  await made.detach('n2');
  await dm('version.delete', { volume_guid: `{${volumeId}}`, snapshot_id: `{${snapshotId}}` });
  expect((await volume.show('n1')).snapshots).toBe(0);
  await dm('volume.delete', { display_name: made.name });
  await volume.detach('n1');
  await dm('volume.delete', { display_name: name });
  await nothingLeft(volume.id);
});

test('a clone of 100 GiB takes no time that depends on its size', async () => {
  const big = await cluster.createVolume('Bronze', { sizeBytes: 100 * 1024 * mib });
  const endpoint = await big.attach('n1');
  await write(endpoint, pieces(5, 256));
  await snapshot(big, 's');
  const timed = async (what: string, run: () => Promise<TestVolume>): Promise<TestVolume> => {
    const start = performance.now();
    const made = await run();
    console.info(`${what} of 100 GiB: ${Math.round(performance.now() - start)} ms`);
    return made;
  };
  const first = await timed('clone of a snapshot', () =>
    clone({ volume: big.name, snapshot: 's' }, 'big-1'),
  );
  const second = await timed('clone while it is used', () => clone({ volume: big.name }, 'big-2'));
  await expectPieces((await second.attach('n2')).uri, pieces(5, 256));
  await second.detach('n2');
  await big.detach('n1');
  for (const one of [first, second]) await remove(one);
  await remove(big, '?snapshots=true');
  await nothingLeft(big.id, first.id, second.id);
});

test('a daemon that is killed leaves no half snapshot and no half clone', async () => {
  const n1 = cluster.node('n1');
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  for (const [round, afterMs] of [20, 150].entries()) {
    for (const piece of pieces(round + 1)) await io.write(piece);
    const names = { name: `k${round}` };
    const asked = Promise.allSettled([
      n1.api.request('POST', `/v1/volumes/${volume.name}/snapshots`, names),
      n1.api.request('POST', '/v1/volumes', { ...names, source: { volume: volume.name } }),
    ]);
    await sleep(afterMs);
    await n1.killDaemon();
    await asked;
    await n1.start();
    for (const piece of pieces(round + 1)) await io.read(piece);
  }
  const fsck = await n1.hscli<{ findings: unknown[] }>('cluster', 'fsck');
  expect(fsck.findings).toEqual([]);
  const made = (await all()).filter((v) => v.parent === volume.name);
  const state = await volume.waitFor((s) => s.report.state === 'healthy');
  expect(state.clones).toEqual(made.map((v) => v.name).sort());
  // Each of them shows what was written before it was asked for, whenever it was made.
  for (const { name, id } of made) {
    const one = new TestVolume(cluster.lab, name, id);
    const byte = name === 'k0' ? 1 : 2;
    await expectPieces((await one.attach('n2')).uri, pieces(byte));
    await one.detach('n2');
    await remove(one);
  }
  io.kill();
  await volume.detach('n1');
  await remove(volume, '?snapshots=true');
  await nothingLeft(volume.id, ...made.map((v) => v.id));
});

test('a clone outlives the node that had the only copy, once it is read elsewhere', async () => {
  const volume = await cluster.createVolume('Bronze');
  await write(await volume.attach('n1'), pieces(6));
  await volume.detach('n1');
  const used = await clone({ volume: volume.name }, 'used');
  const unused = await clone({ volume: volume.name }, 'unused');
  const io = cluster.qemuIo(await used.attach('n2'));
  await used.waitFor(
    (s) => sealed(s).every((l) => l.copies.some((c) => c.node === 'n2' && c.state === 'clean')),
    60_000,
  );
  // Its own head lets go of n1 as well.
  await expect
    .poll(async () => (await cluster.events('n2', used)).map((e) => e.values?.reason))
    .toContain('localise');
  await cluster.node('n1').powerCut();
  for (const piece of pieces(6)) await io.read(piece);
  await io.write({ offset: 0, length: 4096, byte: 9 });
  io.kill();
  await expect
    .poll(async () => (await unused.show('n2')).state, { timeout: 60_000 })
    .toBe('healthy');
  await cluster.node('n1').start();
});
