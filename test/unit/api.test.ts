import { stat } from 'node:fs/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type App, buildApp } from '../../src/api/app.ts';
import { createApi } from '../../src/api/server.ts';
import { FakeService, quiet, secret, startApi, volumeRecord } from './api-fake-service.ts';

const good = { name: 'vol', sizeBytes: 2 ** 30, policy: 'Silver' };

describe('the API over the Unix socket', () => {
  let service: FakeService;
  let app: App;
  beforeEach(async () => {
    service = new FakeService();
    app = await buildApp(service, { via: 'unix' }, quiet);
  });
  afterEach(() => app.close());

  const post = (url: string, payload: unknown) =>
    app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json' },
      payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
    });

  it('creates, lists, shows, attaches, seals, detaches and deletes', async () => {
    const created = await post('/v1/volumes', good);
    expect(created.statusCode).toBe(201);
    const { id } = created.json();
    expect(created.headers.location).toBe(`/v1/volumes/${id}`);
    expect(created.json()).toMatchObject({ name: 'vol', state: 'healthy', policy: { copies: 2 } });
    const list = await app.inject('/v1/volumes');
    expect(list.json().volumes).toHaveLength(1);
    const attached = await app.inject({ method: 'POST', url: '/v1/volumes/vol/attachments' });
    expect(attached.statusCode).toBe(200);
    expect(attached.json()).toMatchObject({ host: 'n1', uri: expect.stringMatching(/^nbd\+unix/) });
    expect((await post('/v1/volumes/vol/attachments', { host: 'n2' })).json().host).toBe('n2');
    const shown = (await app.inject(`/v1/volumes/${id}`)).json();
    expect(shown).toMatchObject({ head: 'n2', attachments: [{ host: 'n2' }] });
    expect(shown.report.layers[0]).toMatchObject({ number: 1, state: 'open' });
    expect((await app.inject('/v1/volumes/vol/health')).json().state).toBe('healthy');
    expect((await app.inject('/v1/volumes/vol/layers')).json().layers).toHaveLength(1);
    expect((await post('/v1/volumes/vol/seal', {})).json().epoch).toBe(1);
    const refused = await app.inject({ method: 'DELETE', url: '/v1/volumes/vol' });
    expect(refused.statusCode).toBe(409);
    expect(refused.json()).toMatchObject({ code: 'in-use', detail: expect.stringMatching('n2') });
    const url = '/v1/volumes/vol/attachments/n2';
    expect((await app.inject({ method: 'DELETE', url })).statusCode).toBe(204);
    expect((await app.inject({ method: 'DELETE', url: `/v1/volumes/${id}` })).statusCode).toBe(204);
    expect((await app.inject('/v1/volumes/vol')).statusCode).toBe(404);
  });

  it('tells of the cluster, its nodes, policies and work', async () => {
    service.records.set('x', volumeRecord());
    service.workList = [
      {
        node: 'n2',
        volume: volumeRecord().id,
        kind: 'mend',
        layer: 'l',
        from: 'n1',
        doneBytes: 1,
        totalBytes: 2,
        startedAt: '2026-01-01T00:00:00Z',
      },
    ];
    expect((await app.inject('/v1/health')).json()).toMatchObject({ status: 'ok', node: 'n1' });
    expect((await app.inject('/v1/cluster')).json()).toMatchObject({
      id: 'cluster-1',
      state: 'healthy',
      nodes: { total: 3, up: 3 },
      provisionedBytes: volumeRecord().sizeBytes * (volumeRecord().policy.reflections + 1),
      volumes: { total: 1, healthy: 1 },
    });
    expect((await app.inject('/v1/nodes')).json().nodes).toHaveLength(3);
    expect((await app.inject('/v1/nodes/n2')).json()).toMatchObject({ name: 'n2', up: true });
    expect((await app.inject('/v1/nodes/n9')).json()).toMatchObject({ code: 'not-found' });
    expect((await app.inject('/v1/policies')).json().policies).toHaveLength(3);
    expect((await app.inject('/v1/work')).json().work[0]).toMatchObject({ volumeName: 'db1' });
    service.connected = false;
    expect((await app.inject('/v1/cluster')).json().state).toBe('degraded');
  });

  const bad: [string, unknown, RegExp, (string | RegExp)?][] = [
    ['a name that is a number', { ...good, name: 5 }, /^name 5 is not a string/],
    ['an empty name', { ...good, name: '' }, /^name "" is not a valid/, /1 to 63/],
    ['a name with a slash', { ...good, name: 'a/b' }, /^name "a\/b" is not a valid/],
    ['a name with ..', { ...good, name: '../x' }, /^name "\.\.\/x"/],
    ['a name with a line break', { ...good, name: 'a\n' }, /^name "a\\n" is not a valid/],
    ['a name with a control character', { ...good, name: 'a\u0000' }, /^name "a\\u0000"/],
    ['a name with a space', { ...good, name: 'a b' }, /is not a valid/],
    ['a name that begins with a dash', { ...good, name: '-rf' }, /is not a valid/],
    ['a name that is too long', { ...good, name: 'x'.repeat(64) }, /has 64 characters/],
    ['a name like an id', { ...good, name: volumeRecord().id }, /looks like a volume id/],
    ['a letter that only looks Latin', { ...good, name: 'аbc' }, /is not a valid/],
    ['a size as text', { ...good, sizeBytes: '10G' }, /^sizeBytes "10G" is not an integer/],
    ['a size of zero', { ...good, sizeBytes: 0 }, /0 bytes is too small/, /1048576\.$/],
    ['a negative size', { ...good, sizeBytes: -4096 }, /-4096 bytes is too small/],
    ['an odd size', { ...good, sizeBytes: 2 ** 30 + 1 }, /not a multiple of 4096/, /1073741824\.$/],
    ['a fractional size', { ...good, sizeBytes: 2 ** 20 + 0.5 }, /not a whole number/],
    ['an absurd size', { ...good, sizeBytes: 1e30 }, /too big/, /70368744177664\.$/],
    ['a size that is null', { ...good, sizeBytes: null }, /^sizeBytes null is not/],
    ['a size that is a list', { ...good, sizeBytes: [2 ** 30] }, /is not an integer/],
    ['an unknown policy', { ...good, policy: 'Platinum' }, /no policy "Platinum"/, /Gold, Silver/],
    ['a policy that is an object', { ...good, policy: {} }, /^policy \{\} is not a string/],
    ['no policy', { name: 'a', sizeBytes: 2 ** 30 }, /lacks "policy"/, /policy/],
    ['an unknown field', { ...good, color: 'red' }, /unknown field "color"/, /name, sizeBytes/],
    ['a list', [good], /the body .* is not an object/],
    ['null', 'null', /the body null is not an object/],
    ['truncated JSON', '{"name": "a"', /not valid JSON/],
    ['a prototype', '{"__proto__": {"a": 1}}', /./],
  ];
  it.each(bad)('refuses to create with %s', async (_what, body, detail, hint) => {
    const answer = await post('/v1/volumes', body);
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toMatch('application/problem+json');
    const problem = answer.json();
    expect(problem).toMatchObject({ code: 'bad-input', status: 400, title: 'Bad input' });
    expect(problem.detail).toMatch(detail);
    if (hint !== undefined) {
      expect(problem.hint).toMatch(hint);
    }
    expect(service.records.size).toBe(0);
  });

  it('refuses a huge body, another media type and an empty one', async () => {
    const huge = await post('/v1/volumes', { ...good, name: 'x'.repeat(70_000) });
    expect(huge.statusCode).toBe(413);
    expect(huge.json()).toMatchObject({ code: 'bad-input', status: 413 });
    const headers = { 'content-type': 'text/plain' };
    const text = await app.inject({ method: 'POST', url: '/v1/volumes', headers, payload: 'hi' });
    expect(text.statusCode).toBe(415);
    expect(text.json().hint).toMatch('application/json');
    const empty = await post('/v1/volumes', '');
    expect(empty.json()).toMatchObject({ code: 'bad-input', status: 400 });
  });

  it.each([
    '/v1/volumes/a%2Fb',
    '/v1/volumes/%00',
    '/v1/volumes/..%2f..%2fetc',
    `/v1/volumes/${'x'.repeat(64)}`,
    '/v1/nodes/%0a',
    '/v1/events?after=-1',
    '/v1/events?after=1e3',
    '/v1/events?after=1&after=2',
    '/v1/events?color=red',
    '/v1/work?scope=galaxy',
  ])('refuses %s', async (url) => {
    const answer = await app.inject(url);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'bad-input', hint: expect.any(String) });
  });

  it('answers 404 for what there is not', async () => {
    for (const url of ['/v1/volumes/nothing', '/v1/nothing', '/', '/peer/v1/work']) {
      const answer = await app.inject(url);
      expect(answer.statusCode, url).toBe(404);
      expect(answer.json()).toMatchObject({ code: 'not-found', hint: expect.any(String) });
    }
    expect((await post('/v1/volumes/nothing/seal', {})).statusCode).toBe(404);
    expect((await post('/peer/v1/fence', { volume: 'v', epoch: 1 })).statusCode).toBe(404);
  });

  it('answers conflicts with their own codes', async () => {
    await post('/v1/volumes', good);
    expect((await post('/v1/volumes', good)).json()).toMatchObject({ code: 'exists', status: 409 });
    expect((await post('/v1/volumes/vol/seal', {})).json().code).toBe('not-allowed');
    const unknown = await post('/v1/volumes/vol/attachments', { host: 'n9' });
    expect(unknown.json()).toMatchObject({
      code: 'not-found',
      detail: expect.stringMatching('n9'),
    });
    const field = await post('/v1/volumes/vol/attachments', { node: 'n1' });
    expect(field.json().detail).toMatch('unknown field "node"');
  });

  it('tells nothing of an unexpected error', async () => {
    service.nodes = () => {
      throw new Error('password is hunter2');
    };
    const answer = await app.inject('/v1/nodes');
    expect(answer.statusCode).toBe(500);
    expect(answer.json()).toMatchObject({ code: 'internal' });
    expect(answer.body).not.toMatch(/hunter2|\.ts/);
  });

  it('shows a volume also when work is not known', async () => {
    service.records.set('x', volumeRecord());
    service.work = () => Promise.reject(new Error('no peer'));
    expect((await app.inject('/v1/volumes/db1')).json().state).toBe('healthy');
  });

  it('describes itself as OpenAPI 3.1 with every route and shape', async () => {
    const document = (await app.inject('/openapi.json')).json();
    expect(document.openapi).toMatch(/^3\.1\./);
    const routes = Object.entries<object>(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual(
      [
        'get /v1/health',
        'post /v1/cluster/recover',
        'get /v1/cluster',
        'get /v1/nodes',
        'get /v1/nodes/{name}',
        'get /v1/policies',
        'get /v1/volumes',
        'post /v1/volumes',
        'get /v1/volumes/{volume}',
        'delete /v1/volumes/{volume}',
        'get /v1/volumes/{volume}/health',
        'get /v1/volumes/{volume}/layers',
        'get /v1/volumes/{volume}/snapshots',
        'post /v1/volumes/{volume}/snapshots',
        'get /v1/volumes/{volume}/snapshots/{snapshot}',
        'patch /v1/volumes/{volume}/snapshots/{snapshot}',
        'delete /v1/volumes/{volume}/snapshots/{snapshot}',
        'delete /v1/volumes/{volume}/snapshots/{snapshot}/attachments/{host}',
        'delete /v1/volumes/{volume}/views/{view}',
        'post /v1/volumes/{volume}/snapshots/{snapshot}/attachments',
        'post /v1/volumes/{volume}/snapshots/{snapshot}/revert',
        'post /v1/volumes/{volume}/attachments',
        'delete /v1/volumes/{volume}/attachments/{host}',
        'put /v1/volumes/{volume}/attachments/{host}/device',
        'delete /v1/volumes/{volume}/attachments/{host}/device',
        'get /v1/volumes/{volume}/qos',
        'patch /v1/volumes/{volume}/qos',
        'post /v1/volumes/{volume}/seal',
        'get /v1/space',
        'get /v1/nodes/{name}/space',
        'get /v1/volumes/{volume}/space',
        'post /v1/volumes/{volume}/compact',
        'delete /v1/volumes/{volume}/compact',
        'post /v1/volumes/{volume}/verify',
        'post /v1/volumes/{volume}/views',
        'post /v1/cluster/fsck',
        'get /v1/nodes/{name}/removal',
        'delete /v1/nodes/{name}',
        'get /v1/nodes/{name}/drain',
        'put /v1/nodes/{name}/drain',
        'delete /v1/nodes/{name}/drain',
        'get /v1/volumes/{volume}/loss',
        'post /v1/volumes/{volume}/force',
        'get /v1/work',
        'get /v1/events',
        'post /v1/volumes/{volume}/extend',
        'get /v1/snapshots',
        'get /v1/vms',
        'post /v1/vms/{vm}/disks',
        'delete /v1/vms/{vm}/disks/{volume}',
        'post /v1/volumes/{volume}/disk',
        'get /v1/vms/{vm}/migrate',
        'post /v1/vms/{vm}/migrate',
        'delete /v1/vms/{vm}/migrate',
        'post /v1/nodes/{name}/evacuate',
        'get /v1/images',
        'post /v1/images',
        'get /v1/images/{image}',
        'delete /v1/images/{image}',
        'post /v1/volumes/adopt',
        'patch /v1/volumes/{volume}',
        'post /v1/volumes/{volume}/flatten',
        'delete /v1/volumes/{volume}/flatten',
        'post /v1/snapshots',
        'post /v1/volumes/restore',
        'get /v1/backup-targets',
        'post /v1/backup-targets/{target}',
        'get /v1/backup-targets/{target}/backups',
        'get /v1/backup-targets/{target}/backups/{backup}',
        'delete /v1/backup-targets/{target}/backups/{backup}',
        'post /v1/backup-targets/{target}/verify',
        'post /v1/backup-targets/{target}/sweep',
        'get /v1/volumes/{volume}/backups',
        'post /v1/volumes/{volume}/backups',
        'delete /v1/volumes/{volume}/backups/{episode}',
      ].sort(),
    );
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)];
    expect(references.length).toBeGreaterThan(20);
    for (const [, reference = ''] of references) {
      const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1] ?? reference;
      expect(document.components.schemas, reference).toHaveProperty(name);
    }
    const operations = Object.values<Record<string, { operationId: string }>>(document.paths)
      .flatMap((item) => Object.values(item))
      .map((operation) => operation.operationId);
    expect(new Set(operations).size).toBe(routes.length);
  });

  it('answers what its own document promises', async () => {
    await post('/v1/volumes', good);
    await post('/v1/volumes/vol/attachments', {});
    const document = (await app.inject('/openapi.json')).json();
    const ajv = new Ajv2020({ strict: false });
    ajv.addSchema(document, 'api');
    const paths = ['health', 'cluster', 'nodes', 'policies', 'volumes', 'work'].map((p) => [p, p]);
    paths.push(['nodes/n1', 'nodes/{name}'], ['volumes/vol', 'volumes/{volume}']);
    paths.push(['volumes/vol/health', 'volumes/{volume}/health']);
    paths.push(['space', 'space'], ['space?volumes=true', 'space']);
    paths.push(['volumes/vol/space', 'volumes/{volume}/space']);
    paths.push(['nodes/n1/space', 'nodes/{name}/space']);
    paths.push(['volumes/vol/layers', 'volumes/{volume}/layers']);
    for (const [url = '', path = ''] of paths) {
      const pointer = `/v1/${path}`
        .replaceAll('/', '~1')
        .replaceAll('{', '%7B')
        .replaceAll('}', '%7D');
      const validate = ajv.compile({
        $ref: `api#/paths/${pointer}/get/responses/200/content/application~1json/schema`,
      });
      const valid = validate((await app.inject(`/v1/${url}`)).json());
      expect(valid, `${url}: ${JSON.stringify(validate.errors)}`).toBe(true);
    }
  });
});

describe('the API over TCP', () => {
  it('asks for the secret, everywhere', async () => {
    const service = new FakeService();
    const app = await buildApp(service, { via: 'tcp', secret }, quiet);
    const wrong = [undefined, '', 'Bearer', 'Bearer wrong', `Basic ${secret}`, `Bearer ${secret}x`];
    for (const authorization of wrong) {
      for (const url of ['/v1/health', '/openapi.json', '/nothing', '/peer/v1/work']) {
        const headers = authorization === undefined ? {} : { authorization };
        const answer = await app.inject({ url, headers });
        expect(answer.statusCode, `${authorization} ${url}`).toBe(401);
        expect(answer.json().code).toBe('unauthorized');
      }
    }
    const short = await buildApp(service, { via: 'tcp', secret: 'x'.repeat(20) }, quiet);
    const headers = { authorization: `Bearer ${'x'.repeat(20)}` };
    expect((await short.inject({ url: '/v1/health', headers })).statusCode).toBe(200);
    await Promise.all([app.close(), short.close()]);
  });

  it('is not served with a short secret', async () => {
    const api = createApi(new FakeService(), { secret: 'short', log: quiet });
    await expect(api.listenTcp('127.0.0.1', 0)).rejects.toMatchObject({ code: 'bad-input' });
    await api.close();
  });

  it('says when the port is taken', async () => {
    const api = await startApi(new FakeService());
    const second = createApi(new FakeService(), { secret, log: quiet });
    await expect(second.listenTcp('127.0.0.1', api.port)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(String(api.port)),
    });
    await second.close();
    await api.stop();
  });
});

describe('the Unix socket', () => {
  it('is for its owner only, and not taken from a living daemon', async () => {
    const api = await startApi(new FakeService());
    expect((await stat(api.socket)).mode & 0o777).toBe(0o600);
    const second = createApi(new FakeService(), { secret, log: quiet });
    await expect(second.listenUnix(api.socket)).rejects.toMatchObject({ code: 'already-running' });
    await second.close();
    expect((await stat(api.socket)).isSocket()).toBe(true);
    await api.stop();
  });
});
