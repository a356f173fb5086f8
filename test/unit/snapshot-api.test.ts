/** What the API and `hscli` make of snapshots and clones, over records without a cluster. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type App, buildApp } from '../../src/api/app.ts';
import { run } from '../../src/cli/program.ts';
import type { Volume } from '../../src/volume/types.ts';
import { FakeService, quiet, replica, sealed, startApi, volumeRecord } from './api-fake-service.ts';

const clean = () => ['n1', 'n2', 'n3'].map((node) => replica(node, 'clean'));
const uuid = 'f0e0fdb6-9a9e-4d4c-8d5a-5a3c3a0b4d11';

/** A volume with two sealed layers of 5 MiB. */
function written(changes: Partial<Volume> = {}): Volume {
  return volumeRecord({ chain: [sealed(1, clean()), sealed(2, clean())], epoch: 2, ...changes });
}

let service: FakeService;
beforeEach(() => {
  service = new FakeService();
  const volume = written();
  service.records.set(volume.id, volume);
});

describe('the API', () => {
  let app: App;
  beforeEach(async () => {
    app = await buildApp(service, { via: 'unix' }, quiet);
  });
  afterEach(() => app.close());

  const ask = async (
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    url: string,
    payload?: object,
  ) => {
    const answer = await app.inject({
      method,
      url,
      ...(payload === undefined
        ? {}
        : { payload, headers: { 'content-type': 'application/json' } }),
    });
    const body = answer.body === '' ? null : answer.json();
    return { status: answer.statusCode, body, headers: answer.headers };
  };
  const list = async () => (await ask('GET', '/v1/volumes/db1/snapshots')).body.snapshots;

  it('makes, lists, shows, protects and deletes a snapshot', async () => {
    const made = await ask('POST', '/v1/volumes/db1/snapshots', { name: 'a' });
    expect(made.status).toBe(201);
    expect(made.headers.location).toBe(
      `/v1/volumes/${volumeRecord().id}/snapshots/${made.body.id}`,
    );
    expect(made.body).toMatchObject({
      ...{ name: 'a', volume: volumeRecord().id, sizeBytes: 2 ** 30, protected: false },
      ...{ bytes: 10 * 2 ** 20, clones: [] },
    });
    expect(await list()).toEqual([made.body]);
    expect((await ask('GET', '/v1/volumes/db1')).body).toMatchObject({
      snapshots: 1,
      snapshotList: [made.body],
      ...{ role: 'volume', parent: null, sharedLayers: 0, clones: [] },
    });
    const path = `/v1/volumes/db1/snapshots/${made.body.id}`;
    expect((await ask('PATCH', path, { protected: true })).body.protected).toBe(true);
    const kept = { status: 409, body: { code: 'not-allowed' } };
    expect(await ask('DELETE', path)).toMatchObject(kept);
    expect(await ask('PATCH', path, { protected: 'no' })).toMatchObject({ status: 400 });
    await ask('PATCH', '/v1/volumes/db1/snapshots/a', { protected: false });
    expect((await ask('DELETE', path)).status).toBe(204);
    expect((await ask('DELETE', path)).status).toBe(204);
    expect(await list()).toEqual([]);
    expect(await ask('GET', path)).toMatchObject({ status: 404, body: { code: 'not-found' } });
  });

  it('names a snapshot by the time when it is given no name', async () => {
    const made = await ask('POST', '/v1/volumes/db1/snapshots');
    expect(made.body.name).toMatch(/^snap-\d{8}-\d{6}\.\d{3}$/);
  });

  it('takes an id of the caller, and answers the same again with it', async () => {
    const wanted = { name: 'a', id: uuid };
    const made = await ask('POST', '/v1/volumes/db1/snapshots', wanted);
    expect(made.body.id).toBe(uuid);
    expect((await ask('POST', '/v1/volumes/db1/snapshots', wanted)).body).toEqual(made.body);
    const other = await ask('POST', '/v1/volumes/db1/snapshots', { name: 'b', id: uuid });
    expect(other).toMatchObject({ status: 409, body: { code: 'exists' } });
    expect(await list()).toHaveLength(1);
  });

  it.each([
    { name: '' },
    { name: '../x' },
    { name: uuid },
    { name: uuid.replaceAll('-', '') },
    { name: 'x'.repeat(64) },
    { name: 7 },
    { name: 'a', id: 'b' },
    { name: 'a', id: `${uuid}0` },
    { name: 'a', size: 1 },
  ])('refuses a snapshot that is %j', async (body) => {
    const refused = await ask('POST', '/v1/volumes/db1/snapshots', body);
    expect(refused).toMatchObject({ status: 400, body: { code: 'bad-input' } });
    expect(await list()).toEqual([]);
  });

  it('refuses snapshots of what is not there, and of an image', async () => {
    expect((await ask('POST', '/v1/volumes/none/snapshots', { name: 'a' })).status).toBe(404);
    const image = written({ id: uuid, name: 'debian', role: 'image' });
    service.records.set(image.id, image);
    const refused = await ask('POST', '/v1/volumes/debian/snapshots', { name: 'a' });
    expect(refused).toMatchObject({ status: 409, body: { code: 'not-allowed' } });
  });

  it('makes a clone of a volume, of a snapshot and of an image, as large or larger', async () => {
    await ask('POST', '/v1/volumes/db1/snapshots', { name: 'a' });
    const source = { volume: 'db1' };
    const plain = await ask('POST', '/v1/volumes', { name: 'c1', source });
    expect(plain.status).toBe(201);
    expect(plain.body).toMatchObject({
      ...{ name: 'c1', sizeBytes: 2 ** 30, policy: { name: 'Gold' }, role: 'volume' },
      ...{ parent: 'db1', layers: 2, sharedLayers: 2, state: 'healthy' },
    });
    const of = { name: 'c2', source: { ...source, snapshot: 'a' } };
    const more = { ...of, sizeBytes: 2 ** 31, policy: 'Bronze', maxIops: 100 };
    expect((await ask('POST', '/v1/volumes', more)).body).toMatchObject({
      ...{ sizeBytes: 2 ** 31, policy: { name: 'Bronze' }, parent: 'db1' },
    });
    expect(service.calls.at(-1)).toEqual([
      'clone',
      { volume: 'db1', snapshot: 'a' },
      expect.objectContaining({ name: 'c2', limits: { maxIops: 100 } }),
    ]);
    expect((await list())[0].clones).toEqual(['c1', 'c2']);
    expect((await ask('GET', '/v1/volumes/db1')).body.clones).toEqual(['c1', 'c2']);
    const { layers } = (await ask('GET', '/v1/volumes/c1/layers')).body;
    expect(layers.map((l: { volume: string }) => l.volume)).toEqual([
      volumeRecord().id,
      volumeRecord().id,
    ]);
  });

  it.each([
    [{ name: 'c', source: { volume: 'db1' }, sizeBytes: 2 ** 29 }, 400, 'bad-input'],
    [{ name: 'c', source: { volume: 'db1', snapshot: 'none' } }, 404, 'not-found'],
    [{ name: 'c', source: { volume: 'none' } }, 404, 'not-found'],
    [{ name: 'db1', source: { volume: 'db1' } }, 409, 'exists'],
    [{ name: 'c', source: 'db1' }, 400, 'bad-input'],
    [{ name: 'c', source: {} }, 400, 'bad-input'],
    [{ name: 'c', source: { volume: 'db1', image: 'x' } }, 400, 'bad-input'],
    [{ name: 'c', source: { volume: 'db1' }, policy: 'Tin' }, 400, 'bad-input'],
    [{ name: 'c', sizeBytes: 2 ** 30 }, 400, 'bad-input'],
    [{ name: 'c', policy: 'Gold' }, 400, 'bad-input'],
  ])('refuses to make a volume of %j', async (body, status, code) => {
    const refused = await ask('POST', '/v1/volumes', body);
    expect(refused).toMatchObject({ status, body: { code } });
    expect(service.records.size).toBe(1);
  });

  it('says which field an empty volume lacks', async () => {
    const { body } = await ask('POST', '/v1/volumes', { name: 'c', sizeBytes: 2 ** 30 });
    expect(body.detail).toContain('policy');
  });

  it('lets an image be as it is', async () => {
    service.records.set('i', written({ id: 'i', name: 'debian', role: 'image' }));
    const grow = await ask('POST', '/v1/volumes/debian/extend', { sizeBytes: 2 ** 31 });
    expect(grow).toMatchObject({ status: 409, body: { code: 'not-allowed' } });
  });

  it('reverts to the newest snapshot, and to no other', async () => {
    await ask('POST', '/v1/volumes/db1/snapshots', { name: 'a' });
    const record = service.volume('db1').value;
    const grown = { ...record, chain: [...record.chain, sealed(3, clean())], epoch: 3 };
    service.records.set(grown.id, { ...grown, sizeBytes: 2 ** 31 });
    const reverted = await ask('POST', '/v1/volumes/db1/snapshots/a/revert');
    expect(reverted).toMatchObject({ status: 200, body: { sizeBytes: 2 ** 30, layers: 2 } });
    expect((await ask('POST', '/v1/volumes/db1/snapshots/b/revert')).status).toBe(404);
  });

  it('lists images and bases only when asked', async () => {
    const names = async (query = '') =>
      (await ask('GET', `/v1/volumes${query}`)).body.volumes.map((v: { name: string }) => v.name);
    service.records.set('i', written({ id: 'i', name: 'debian', role: 'image' }));
    service.records.set('b', written({ id: 'b', name: 'gone', role: 'base' }));
    expect(await names()).toEqual(['db1']);
    expect(await names('?all=true')).toEqual(['db1', 'debian', 'gone']);
    expect((await ask('GET', '/v1/volumes?all=yes')).status).toBe(400);
    // A base is told of by the volumes that need it.
    expect((await ask('GET', '/v1/cluster')).body.volumes.total).toBe(2);
  });
});

describe('hscli', () => {
  let api: Awaited<ReturnType<typeof startApi>>;
  beforeEach(async () => {
    api = await startApi(service);
  });
  afterEach(() => api.stop());

  async function hscli(line: string, input?: string) {
    const stdin: PassThrough & { isTTY?: boolean } = new PassThrough();
    stdin.isTTY = input !== undefined;
    stdin.end(input);
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    let [text, complaints] = ['', ''];
    stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
    });
    stderr.on('data', (piece: Buffer) => {
      complaints += piece.toString();
    });
    const env = { HYPERSCALE_SOCKET: api.socket };
    const { signal } = new AbortController();
    const status = await run(line.split(' '), { stdout, stderr, stdin, env, signal });
    return { status, stdout: text, stderr: complaints };
  }

  it('tells of snapshots and clones in plain words', async () => {
    expect((await hscli('snapshot list db1')).stdout).toBe(
      'No snapshots. Make one: hscli snapshot create db1\n',
    );
    expect((await hscli('snapshot create db1 a')).stdout).toBe('Snapshot a of db1 is kept.\n');
    expect((await hscli('snapshot create db1')).stdout).toMatch(/^Snapshot snap-\S+ of db1/);
    expect((await hscli('volume clone db1@a c1 --policy Bronze')).stdout).toBe(
      'Volume c1 (1 GiB, Bronze) is ready, a clone of db1@a.\n',
    );
    const [title, first, second] = (await hscli('snapshot list db1')).stdout.split('\n');
    expect(title).toMatch(/^NAME +CREATED +SIZE +HELD +PROTECTED +CLONES +ID$/);
    expect(first).toMatch(/^a .* 1 GiB +10 MiB +no +c1 /);
    // Both end at one layer: the second holds nothing of its own.
    expect(second).toMatch(/ 1 GiB +\d+ (MiB|B) +no +c1 /);
    expect((await hscli('snapshot protect db1 a')).stdout).toContain('cannot be deleted');
    expect(await hscli('snapshot delete db1 a')).toMatchObject({ status: 5, stdout: '' });
    expect((await hscli('snapshot unprotect db1 a')).stdout).toContain('can be deleted');
    expect((await hscli('snapshot show db1 a')).stdout).toMatch(/Held: +10 MiB\n/);
    const shown = (await hscli('volume show db1')).stdout;
    expect(shown).toMatch(/Snapshots: +a, snap-/);
    expect(shown).toMatch(/Clones: +c1\n/);
    const clone = (await hscli('volume show c1')).stdout;
    expect(clone).toMatch(/Cloned from: +db1 \(2 layers shared\)\n/);
    expect(clone).toContain('1  sealed, epoch 1, shared, 5 MiB: n1, n2, n3\n');
    expect((await hscli('snapshot delete db1 a')).status).toBe(0);
    expect(JSON.parse((await hscli('snapshot list db1 --json')).stdout).snapshots).toHaveLength(1);
  });

  it('asks before it reverts, and deletes snapshots only when told to', async () => {
    await hscli('snapshot create db1 a');
    const unasked = await hscli('snapshot revert db1 a');
    expect(unasked).toMatchObject({ status: 2, stdout: '' });
    expect(unasked.stderr).toContain('--yes');
    expect((await hscli('snapshot revert db1 a', 'a\n')).status).toBe(130);
    expect(service.calls.filter(([name]) => name === 'revert')).toEqual([]);
    expect(await hscli('snapshot revert db1 a', 'db1\n')).toMatchObject({ status: 0 });
    expect((await hscli('snapshot revert db1 a --yes')).stdout).toContain('is what it was at a');
    expect((await hscli('volume delete db1 --yes --snapshots')).status).toBe(0);
    expect(service.calls.at(-1)).toEqual(['delete', 'db1', { snapshots: true }]);
  });

  it.each([
    ['volume clone @a c', 2],
    ['volume clone db1@ c', 2],
    ['volume clone db1@a@b c', 2],
    ['volume clone db1@none c', 3],
    ['volume clone db1 db1', 5],
    ['volume clone db1 c --size 1M', 2],
    ['volume create c --size 1G', 2],
    ['volume create c --policy Gold', 2],
    ['snapshot show db1 none', 3],
    ['snapshot create none', 3],
    ['snapshot delete db1 none', 0],
    ['snapshot show db1 ..', 2],
  ])('ends %s with status %d', async (line, status) => {
    expect(await hscli(line)).toMatchObject({ status });
    expect(service.records.size).toBe(1);
  });

  it('makes a volume from an image with its size and policy, or others', async () => {
    service.records.set('i', written({ id: 'i', name: 'debian', role: 'image' }));
    expect((await hscli('volume create c --image debian')).stdout).toBe(
      'Volume c (1 GiB, Gold) is ready.\n',
    );
    const more = await hscli('volume create d --image debian --size 2G --policy Bronze');
    expect(more.stdout).toBe('Volume d (2 GiB, Bronze) is ready.\n');
  });
});
