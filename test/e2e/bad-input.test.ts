/** What people and programs get wrong is refused with what was wrong and what would be right. */
import { request } from 'undici';
import { expect, test } from 'vitest';
import { mib, sharedCluster } from './fixture.ts';
import { hscli } from './fixture-run.ts';
import type { Problem } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'] });

async function create(body: unknown, via = 'n1'): Promise<{ status: number; body: Problem }> {
  return cluster.node(via).api.request<Problem>('POST', '/v1/volumes', body);
}

async function volumeNames(): Promise<string[]> {
  const path = '/v1/volumes';
  const { volumes } = await cluster
    .node('n1')
    .api.call<{ volumes: { name: string }[] }>('GET', path);
  return volumes.map((volume) => volume.name);
}

const good = { name: 'good', sizeBytes: 4 * mib, policy: 'Bronze' };

test('a name is given once, also when two ask at the same time', async () => {
  expect((await create(good)).status).toBe(201);
  const again = await create({ ...good, policy: 'Silver' }, 'n2');
  expect(again).toMatchObject({ status: 409, body: { code: 'exists' } });
  expect(again.body.detail).toContain('good');
  const told = await hscli(
    cluster.node('n1'),
    'volume',
    'create',
    'good',
    '--size',
    '1G',
    '--policy',
    'gold',
  );
  expect(told.status).not.toBe(0);
  const both = await Promise.all(
    ['n1', 'n2', 'n1', 'n2'].map((via) => create({ ...good, name: 'wanted' }, via)),
  );
  expect(both.map((answer) => answer.status).sort()).toEqual([201, 409, 409, 409]);
  const wanted = async () => (await volumeNames()).filter((name) => name === 'wanted');
  await expect.poll(wanted).toHaveLength(1);
});

test.each([
  ['0', 0],
  ['negative', -4096],
  ['odd', mib + 1],
  ['not a multiple of 4096', mib + 512],
  ['a fraction', mib + 0.5],
  ['below the smallest', mib - 4096],
  ['above the biggest', 64 * 2 ** 40 + 4096],
  ['absurd', 1e30],
  ['a text', '1G'],
  ['nothing', null],
])('a size that is %s is refused with the sizes that are allowed', async (_name, sizeBytes) => {
  const { status, body } = await create({ ...good, name: 'sized', sizeBytes });
  expect([status, body.code]).toEqual([400, 'bad-input']);
  expect(`${body.detail} ${body.hint}`).toMatch(/4096/);
  expect(await volumeNames()).not.toContain('sized');
});

test.each([
  'a/b',
  '../../etc/passwd',
  '.',
  '',
  '-rf',
  'a b',
  'a\nb',
  'a\u0000b',
  '\u001b[31mred',
  'ä',
  'a'.repeat(64),
  '0b7e2f3c-9d6f-4c53-9a3e-4f6b1d2c8a10',
])('%j is no name for a volume', async (name) => {
  const { status, body } = await create({ ...good, name });
  expect([status, body.code]).toEqual([400, 'bad-input']);
  expect(body.hint).toBeTruthy();
  // What a terminal would take for a command is not sent to it.
  expect(`${body.detail}${body.hint}`).not.toMatch(/\p{Cc}/u);
  const path = `/v1/volumes/${encodeURIComponent(name)}`;
  expect((await cluster.node('n1').api.request('GET', path)).status).toBeGreaterThanOrEqual(
    name === '' ? 200 : 400,
  );
});

test('what is missing, unknown or not JSON is named', async () => {
  const { name: _name, ...nameless } = good;
  const answers = [
    [await create({ ...good, policy: 'Platinum' }), /Platinum.*Gold, Silver, Bronze/],
    [await create({ ...good, policy: '' }), /policy/],
    [await create(nameless), /name/],
    [await create({ ...good, sizeGb: 5 }), /sizeGb/],
    [await create([good]), /body/],
    [await create('good'), /body/],
  ] as const;
  for (const [{ status, body }, text] of answers) {
    expect([status, body.code]).toEqual([400, 'bad-input']);
    expect(`${body.detail} ${body.hint}`).toMatch(text);
  }
  expect(await volumeNames()).not.toContain('[object Object]');
});

test('what does not exist is not found, by volume, node and path', async () => {
  await create({ ...good, name: 'there' });
  const ask = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) =>
    cluster.node('n1').api.request<Problem>(method, path, body);
  const answers = [
    await ask('GET', '/v1/volumes/nowhere'),
    await ask('DELETE', '/v1/volumes/nowhere'),
    await ask('POST', '/v1/volumes/nowhere/attachments', {}),
    await ask('DELETE', '/v1/volumes/nowhere/attachments/n1'),
    await ask('POST', '/v1/volumes/there/attachments', { host: 'n9' }),
    await ask('DELETE', '/v1/volumes/there/attachments/n9'),
    await ask('GET', '/v1/nodes/n9'),
    await ask('GET', '/v2/anything'),
  ];
  expect(answers.map((a) => [a.status, a.body.code])).toEqual(
    answers.map(() => [404, 'not-found']),
  );
  expect(answers[4]?.body).toMatchObject({ detail: expect.stringContaining('n9') });
  expect(answers.every((a) => a.body.hint !== undefined)).toBe(true);
  expect(await ask('POST', '/v1/volumes/there/seal')).toMatchObject({
    status: 409,
    body: { code: 'not-allowed' },
  });
});

test('a node that is down is not attached to, and the answer says so at once', async () => {
  await create({ ...good, name: 'left' });
  await cluster.node('n2').powerCut();
  try {
    const ask = () =>
      cluster
        .node('n1')
        .api.request<Problem>('POST', '/v1/volumes/left/attachments', { host: 'n2' });
    await expect
      .poll(async () => (await ask()).body, { timeout: 60_000 })
      .toMatchObject({ code: 'node-down', detail: expect.stringContaining('n2') });
    await expect
      .poll(() => cluster.node('n1').api.call('GET', '/v1/nodes/n2'), { timeout: 60_000 })
      .toMatchObject({ up: false });
    expect((await ask()).body).toMatchObject({ code: 'node-down' });
    const silver = await create({ ...good, name: 'silver', policy: 'Silver' });
    expect(silver).toMatchObject({ status: 503, body: { code: 'not-enough-nodes' } });
  } finally {
    await cluster.node('n2').boot();
  }
});

/** One request over TCP as another host would make it. */
async function overTcp(path: string, headers: Record<string, string>): Promise<[number, string]> {
  const script = `
    const [url, headers] = process.argv.slice(1);
    const answer = await fetch(url, { headers: JSON.parse(headers) });
    console.log(JSON.stringify([answer.status, await answer.text()]));
  `;
  const url = `http://${cluster.node('n1').address}:7480${path}`;
  const args = ['--input-type=module', '-e', script, url, JSON.stringify(headers)];
  return JSON.parse(await cluster.node('n2').exec([process.execPath, ...args]));
}

test('over the network nothing is told without the secret', async () => {
  const { secret } = cluster.lab;
  const wrong = [
    {},
    { authorization: `Bearer ${secret.slice(1)}` },
    { authorization: `Bearer ${secret} ${secret}` },
    { authorization: `Basic ${secret}` },
    { authorization: secret },
  ];
  for (const path of ['/v1/volumes', '/openapi.json', '/v1/health', '/peer/v1/work', '/nothing']) {
    for (const headers of wrong) {
      const [status, text] = await overTcp(path, headers);
      expect([path, headers, status]).toEqual([path, headers, 401]);
      expect(JSON.parse(text)).toMatchObject({ code: 'unauthorized' });
    }
  }
  const [status, text] = await overTcp('/v1/volumes', { authorization: `Bearer ${secret}` });
  expect(status).toBe(200);
  expect(text).toContain('"good"');
});

test('hscli says what is wrong on stderr and by its exit status', async () => {
  const n1 = cluster.node('n1');
  const make = (name: string, size: string, policy = 'Bronze') => [
    ...['volume', 'create', '--size', size, '--policy', policy, '--', name],
  ];
  const cases: [string[], number, RegExp][] = [
    [make('good', '4M'), 5, /good/],
    [make('a/b', '4M'), 2, /"a\/b".*letters, digits/s],
    [make('x', '4M', 'Platinum'), 2, /Platinum.*Gold, Silver, Bronze/s],
    [make('x', '0'), 2, /0 bytes.*1 MiB/s],
    [make('x', '-1G'), 2, /-1G/],
    [make('x', '10GB'), 2, /GiB/],
    [make('x', '1e9'), 2, /1e9/],
    [make('x', '100P'), 2, /100P.*too big/],
    [make('x', '65T'), 2, /64 TiB/],
    [make('x', '5000001'), 2, /4096/],
    [['volume', 'create', 'x', '--size', '1G'], 2, /--policy/],
    [['volume', 'show', 'nowhere'], 3, /nowhere.*hscli volume list/s],
    [['volume', 'show', '../nodes'], 2, /nodes/],
    [['volume', 'attach', 'good', '--node', 'n9'], 3, /n9.*hscli node list/s],
    [['volume', 'delete', 'good'], 2, /--yes/],
    [['volume', 'polish', 'good'], 2, /polish/],
    [['node', 'show', 'n9'], 3, /n9/],
    [['--socket', '/nowhere.sock', 'volume', 'list'], 6, /\/nowhere\.sock.*hyperscaled/s],
  ];
  for (const [args, status, text] of cases) {
    const told = await hscli(n1, ...args);
    expect({ args, status: told.status, stdout: told.stdout }).toEqual({
      args,
      status,
      stdout: '',
    });
    expect(told.stderr).toMatch(text);
    expect(told.stderr).not.toMatch(/^\s+at /m);
  }
  const json = await hscli(n1, 'volume', 'show', 'nowhere', '--json');
  expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'not-found' } });
  expect(await volumeNames()).not.toContain('x');
});

test('what is not JSON, or too long, is refused before anything looks at it', async () => {
  const { Agent } = await import('undici');
  const dispatcher = new Agent({ connect: { socketPath: cluster.node('n1').socketPath } });
  const post = async (body: string, type: string): Promise<[number, Problem]> => {
    const headers = { 'content-type': type };
    const url = 'http://hyperscale/v1/volumes';
    const answer = await request(url, { method: 'POST', body, headers, dispatcher });
    return [answer.statusCode, (await answer.body.json()) as Problem];
  };
  try {
    for (const [body, type] of [
      ['{"name": ', 'application/json'],
      ['', 'application/json'],
      ['name=x', 'application/x-www-form-urlencoded'],
      [JSON.stringify({ ...good, name: 'x'.repeat(100_000) }), 'application/json'],
    ] as const) {
      const [status, problem] = await post(body, type);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      expect(problem.code).toBe('bad-input');
    }
  } finally {
    await dispatcher.close();
  }
  expect((await cluster.node('n1').api.request('GET', '/v1/health')).status).toBe(200);
});
