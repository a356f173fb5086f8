/** Lists of the API and of `hscli`: narrowed, in parts, in one order, and clear about bad wishes. */
import { PassThrough } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type App, buildApp } from '../../src/api/app.ts';
import { run } from '../../src/cli/program.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { Snapshot, Volume } from '../../src/volume/types.ts';
import {
  attachment,
  FakeService,
  quiet,
  replica,
  sealed,
  startApi,
  volumeRecord,
} from './api-fake-service.ts';

const idOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

let service: FakeService;
let app: App;
beforeEach(async () => {
  service = new FakeService();
  app = await buildApp(service, { via: 'unix' }, quiet);
});
afterEach(() => app.close());

function add(n: number, changes: Partial<Volume> = {}): void {
  const record = volumeRecord({ id: idOf(n), name: `v${n}`, ...changes });
  service.records.set(record.id, record);
}

function snapshot(n: number, changes: Partial<Snapshot> = {}): Snapshot {
  const createdAt = '2026-01-01T00:00:00.000Z';
  return { id: `s${n}`, name: `snap-${n}`, layer: null, sizeBytes: 2 ** 30, createdAt, ...changes };
}

async function ask(url: string) {
  const answer = await app.inject({ method: 'GET', url });
  return { status: answer.statusCode, body: answer.json() };
}

async function names(query: string): Promise<string[]> {
  const { status, body } = await ask(`/v1/volumes${query}`);
  expect({ status, body }).toMatchObject({ status: 200 });
  return body.volumes.map((v: { name: string }) => v.name);
}

describe('volumes', () => {
  it('come by name, and in parts that leave none out and show none twice', async () => {
    for (const n of [7, 3, 9, 1, 5, 2, 8, 4, 6]) add(n);
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `v${n}`);
    expect(await names('')).toEqual(all);
    const seen: string[] = [];
    let after = '';
    for (;;) {
      const { body } = await ask(`/v1/volumes?limit=4${after}`);
      seen.push(...body.volumes.map((v: { name: string }) => v.name));
      // What goes or comes meanwhile moves nothing else.
      service.records.delete(idOf(4));
      if (body.next === undefined) break;
      after = `&after=${encodeURIComponent(body.next)}`;
    }
    expect(seen).toEqual(all);
    expect(await names('?after=v7')).toEqual(['v8', 'v9']);
    expect((await ask('/v1/volumes?limit=8')).body.next).toBeUndefined();
  });

  it('puts a name before the longer ones that begin with it', async () => {
    for (const [n, name] of ['db-1', 'db', 'db.old', 'dba'].entries()) add(n, { name });
    expect(await names('')).toEqual(['db', 'db-1', 'db.old', 'dba']);
    expect(await names('?after=db')).toEqual(['db-1', 'db.old', 'dba']);
  });

  it('are found by name, policy, state, node, attachment and notes, together', async () => {
    const clean = (...nodes: string[]) => [
      sealed(
        1,
        nodes.map((n) => replica(n, 'clean')),
      ),
    ];
    add(1, { name: 'db1', policy: policyNamed('Bronze'), chain: clean('n1') });
    add(2, { name: 'db2', metadata: { tier: '2', owner: 'anna' }, chain: clean('n1', 'n2', 'n3') });
    add(3, { name: 'web', metadata: { tier: '2' }, attachments: [attachment('n3')] });
    expect(await names('?name=db*')).toEqual(['db1', 'db2']);
    expect(await names('?name=*b1')).toEqual(['db1']);
    expect(await names('?name=d')).toEqual([]);
    expect(await names('?name=*b*')).toEqual(['db1', 'db2', 'web']);
    expect(await names('?name=db*b1')).toEqual([]);
    expect(await names('?name=**')).toHaveLength(3);
    expect(await names('?policy=bronze')).toEqual(['db1']);
    expect(await names('?node=n3')).toEqual(['db2', 'web']);
    expect(await names('?attached=true')).toEqual(['web']);
    expect(await names('?attached=false')).toEqual(['db1', 'db2']);
    expect(await names('?metadata.tier=2')).toEqual(['db2', 'web']);
    expect(await names('?metadata.tier=2&metadata.owner=anna')).toEqual(['db2']);
    expect(await names('?name=db*&node=n1&policy=Gold')).toEqual(['db2']);
    service.nodeList = service.nodeList.map((n) => (n.name === 'n1' ? { ...n, lease: null } : n));
    expect(await names('?state=unavailable')).toEqual(['db1']);
    expect(await names('?state=degraded&limit=1')).toEqual(['db2']);
  });

  it.each([
    ['limit=0', 'limit "0"'],
    ['limit=1001', 'limit "1001"'],
    ['limit=-1', 'limit "-1"'],
    ['limit=ten', 'limit "ten"'],
    ['limit=', 'limit ""'],
    ['name=a%2Fb', 'name "a/b"'],
    ['name=', 'name ""'],
    ['policy=Steel', 'there is no policy "Steel"'],
    ['state=ill', 'state "ill"'],
    ['attached=yes', 'attached "yes"'],
    ['size=7', 'unknown field "size"'],
    ['metadata.=x', 'unknown field "metadata."'],
    ['name=a&name=b', 'name'],
  ])('refuses %s, naming it', async (query, text) => {
    const { status, body } = await ask(`/v1/volumes?${query}`);
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'bad-input' });
    expect(body.detail).toContain(text);
    expect(body.hint).toBeTruthy();
  });

  it('says that there is no such node', async () => {
    expect(await ask('/v1/volumes?node=n9')).toMatchObject({
      status: 404,
      body: { detail: 'there is no node "n9"' },
    });
  });

  it('a name of stars and dots takes no time', async () => {
    add(1, { name: 'a'.repeat(63) });
    const began = performance.now();
    expect(await names(`?name=${'*a'.repeat(40)}*b`)).toEqual([]);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe('snapshots', () => {
  beforeEach(() => {
    const snapshots = [1, 2, 3, 4, 5].map((n) =>
      snapshot(n, { ...(n === 2 ? { protected: true } : {}), ...(n > 3 ? { group: 'g' } : {}) }),
    );
    add(1, { name: 'db', snapshots });
    add(2, { name: 'app', snapshots: [snapshot(1), snapshot(2, { group: 'g' })] });
    add(3, { name: 'none' });
  });
  const list = async (url: string) => {
    const { status, body } = await ask(url);
    expect({ status, body }).toMatchObject({ status: 200 });
    return { ids: body.snapshots.map((s: { id: string }) => s.id), next: body.next };
  };

  it('of one volume come in parts, oldest first', async () => {
    const first = await list('/v1/volumes/db/snapshots?limit=2');
    expect(first).toEqual({ ids: ['s1', 's2'], next: 's2' });
    expect(await list('/v1/volumes/db/snapshots?after=s4')).toEqual({ ids: ['s5'] });
    expect((await list('/v1/volumes/db/snapshots')).ids).toHaveLength(5);
    expect((await list('/v1/volumes/db/snapshots?protected=true')).ids).toEqual(['s2']);
    expect((await list('/v1/volumes/db/snapshots?name=*-3')).ids).toEqual(['s3']);
    expect(await ask('/v1/volumes/db/snapshots?after=gone')).toMatchObject({
      status: 404,
      body: { code: 'not-found', hint: expect.stringContaining('begin again') },
    });
    expect((await ask('/v1/volumes/db/snapshots?limit=x')).status).toBe(400);
  });

  it('of all volumes are found by group and by the name of the volume', async () => {
    expect((await list('/v1/snapshots?group=g')).ids).toEqual(['s2', 's4', 's5']);
    expect((await list('/v1/snapshots?volume=d*')).ids).toHaveLength(5);
    const first = await list('/v1/snapshots?limit=1');
    expect(first).toEqual({ ids: ['s1'], next: `${idOf(2)}/s1` });
    const rest = await list(`/v1/snapshots?after=${encodeURIComponent(first.next)}`);
    expect(rest.ids).toEqual(['s2', 's1', 's2', 's3', 's4', 's5']);
  });
});

describe('events', () => {
  beforeEach(() => {
    for (const type of ['a.x', 'b.x', 'a.y', 'a.z']) service.emit(type, type);
  });

  it('come in parts and by type', async () => {
    const path = '/v1/events?follow=false';
    const types = async (query: string) => {
      const { body } = await ask(path + query);
      return { types: body.events.map((e: { type: string }) => e.type), next: body.next };
    };
    const first = await types('&type=a.*&limit=2');
    expect(first).toEqual({ types: ['a.x', 'a.y'], next: expect.any(String) });
    expect(await types(`&type=a.*&after=${first.next}`)).toEqual({ types: ['a.z'] });
    expect((await ask('/v1/events?limit=3')).body).toMatchObject({ code: 'bad-input' });
    expect((await ask(`${path}&type=a/b`)).body).toMatchObject({ code: 'bad-input' });
  });
});

describe('hscli', () => {
  async function hscli(...args: string[]) {
    const { socket, stop } = await startApi(service);
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const { signal } = new AbortController();
    const io = { stdout, stderr, stdin: new PassThrough(), env: {}, signal };
    const status = await run([...args, '--socket', socket], io);
    stdout.end();
    stderr.end();
    await stop();
    return { status, out: await textOf(stdout), err: await textOf(stderr) };
  }

  it('lists everything, however many parts it takes', async () => {
    for (let n = 0; n < 1_203; n += 1) add(n);
    const { status, out } = await hscli('volume', 'list', '--json');
    expect(status).toBe(0);
    const { volumes, next } = JSON.parse(out);
    expect(new Set(volumes.map((v: { id: string }) => v.id)).size).toBe(1_203);
    expect(next).toBeUndefined();
  });

  it('says where a list goes on, and goes on there', async () => {
    for (const n of [1, 2, 3]) add(n, { metadata: { tier: n === 2 ? '1' : '2' } });
    const { out } = await hscli('volume', 'list', '--limit', '2');
    expect(out).toContain(`More: --after v2,${idOf(2)}\n`);
    const rest = await hscli('volume', 'list', '--after', `v2,${idOf(2)}`);
    expect(rest.out).toContain(idOf(3));
    expect(rest.out).not.toContain(idOf(2));
    const noted = await hscli('volume', 'list', '--meta', 'tier=2', '--detached');
    expect(noted.out).not.toContain(idOf(2));
    expect((await hscli('volume', 'list', '--name', 'x*')).out).toBe('No volumes match.\n');
    expect(await hscli('volume', 'list', '--limit', '0')).toMatchObject({ status: 2 });
    expect(await hscli('snapshot', 'list')).toMatchObject({ status: 2 });
    expect((await hscli('snapshot', 'list', '--all-volumes')).out).toBe('No snapshots match.\n');
  });
});
