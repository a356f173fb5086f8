/** What a node lacks, a pool or a backup target, is asked of one that has it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { forwardedHeader } from '../../src/api/forward.ts';
import { answeringNodes, canAnswer } from '../../src/cluster/answering.ts';
import type { NodeView } from '../../src/volume/types.ts';
import { FakeService, secret, startApi } from './api-fake-service.ts';
import { node } from './volume/fixtures.ts';

type View = NodeView & { backupTargets?: string[] };
const having = (view: NodeView, ...backupTargets: string[]): View => ({ ...view, backupTargets });
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const noPool = { withoutPool: true, total: 0, free: 0 };

test('nodes that can answer are those that are up, first those with room', () => {
  const nodes = [
    node('n1', { free: 100 }),
    having(node('n2', { free: 300 }), 'nas'),
    having(node('n3', { free: 400 }), 'nas'),
    having(node('n4', noPool), 'nas', 'tape'),
    having(node('n5', { up: false }), 'nas', 'attic'),
  ];
  expect(answeringNodes(nodes, { target: null, pool: true })).toEqual(['n3', 'n2', 'n1']);
  expect(answeringNodes(nodes, { target: 'nas', pool: true })).toEqual(['n3', 'n2']);
  expect(answeringNodes(nodes, { target: 'nas', pool: false })).toEqual(['n3', 'n2', 'n4']);
  const refused = (target: string, pool: boolean) => () => answeringNodes(nodes, { target, pool });
  expect(refused('tape', true)).toThrow(expect.objectContaining({ code: 'not-enough-nodes' }));
  expect(refused('attic', false)).toThrow(/no node that is up has the backup target attic/);
  expect(refused('none', false)).toThrow(expect.objectContaining({ code: 'not-found' }));
  expect(canAnswer(having(node('n4', noPool), 'nas'), { target: 'nas', pool: true })).toBe(false);
});

/** A node of which nothing works but what is noted here. */
async function other(answer: (url: string) => { status: number; body: unknown }) {
  const seen: { method: string; url: string; body: string; headers: Record<string, unknown> }[] =
    [];
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const body = Buffer.concat(pieces).toString();
      if (url !== '/v1/health') seen.push({ method, url, body, headers });
      const isHealth = url === '/v1/health';
      const said = isHealth ? { status: 200, body: { status: 'ok' } } : answer(url);
      response.writeHead(said.status, { 'content-type': 'application/json', location: '/v1/x' });
      response.end(JSON.stringify(said.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => new Promise((resolve) => server.close(resolve)));
  return { seen, port: (server.address() as AddressInfo).port };
}

async function here(nodes: NodeView[]) {
  const service = Object.assign(new FakeService(), { secret, nodes: () => nodes, images: null });
  const api = await startApi(service);
  ends.push(() => api.stop());
  return async (
    method: string,
    path: string,
    init: { body?: string; type?: string; by?: string } = {},
  ) => {
    const answer = await fetch(`http://127.0.0.1:${api.port}/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${secret}`,
        ...(init.type === undefined ? {} : { 'content-type': init.type }),
        ...(init.by === undefined ? {} : { [forwardedHeader]: init.by }),
      },
      ...(init.body === undefined ? {} : { body: init.body }),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    return { status: answer.status, body, location: answer.headers.get('location') };
  };
}

const at = (view: View, port: number): View => ({ ...view, address: '127.0.0.1', apiPort: port });

test('a command about a target goes to a node that has it, and its answer comes back', async () => {
  const n2 = await other(() => ({ status: 200, body: { backups: 1 } }));
  const ask = await here([node('n1'), at(having(node('n2'), 'nas'), n2.port)]);
  const body = JSON.stringify({ full: true });
  const answer = await ask('POST', '/backup-targets/nas/verify', {
    body,
    type: 'application/json',
  });
  expect(answer).toEqual({ status: 200, body: { backups: 1 }, location: '/v1/x' });
  expect(n2.seen).toMatchObject([{ method: 'POST', url: '/v1/backup-targets/nas/verify', body }]);
  expect(n2.seen[0]?.headers).toMatchObject({
    ...{ authorization: `Bearer ${secret}`, [forwardedHeader]: 'n1' },
  });
});

test('an error there is the error here, and what is wrong in the request is told here', async () => {
  const problem = { code: 'in-use', detail: 'it is too young', status: 409, title: 'In use' };
  const n2 = await other(() => ({ status: 409, body: problem }));
  const ask = await here([node('n1'), at(having(node('n2'), 'nas'), n2.port)]);
  const answer = await ask('DELETE', '/backup-targets/nas/backups/0123456789abcdef');
  expect(answer).toMatchObject({
    status: 409,
    body: { code: 'in-use', detail: 'it is too young' },
  });
  const wrong = { body: '{"full":1}', type: 'application/json' };
  expect(await ask('POST', '/backup-targets/nas/verify', wrong)).toMatchObject({ status: 400 });
  expect(n2.seen).toHaveLength(1);
});

test('nobody sends a request on twice, and one that cannot be reached is passed over', async () => {
  const n3 = await other(() => ({ status: 200, body: { backups: [] } }));
  const closed = await other(() => ({ status: 200, body: {} }));
  await ends.pop()?.();
  const nodes = [
    node('n1'),
    at(having(node('n2', { free: 900 }), 'nas'), closed.port),
    at(having(node('n3'), 'nas'), n3.port),
  ];
  const ask = await here(nodes);
  const path = '/backup-targets/nas/backups?volume=x';
  expect(await ask('GET', path)).toMatchObject({ status: 200, body: { backups: [] } });
  expect(n3.seen).toMatchObject([{ method: 'GET', url: `/v1${path}`, body: '' }]);
  expect(await ask('GET', path, { by: 'n9' })).toMatchObject({ status: 409 });
  const alone = await here(nodes.slice(0, 2));
  const answer = await alone('GET', path);
  expect(answer).toMatchObject({ status: 503, body: { code: 'node-down' } });
  expect(n3.seen).toHaveLength(1);
});

test('a file goes to a node with a pool as it is', async () => {
  const n2 = await other(() => ({ status: 201, body: { image: {}, notes: [] } }));
  const ask = await here([node('n1', noPool), at(node('n2'), n2.port)]);
  const body = 'x'.repeat(300_000);
  const type = 'application/octet-stream';
  expect(await ask('POST', '/images?name=i', { body, type })).toMatchObject({ status: 201 });
  expect(n2.seen[0]?.body === body).toBe(true);
  expect(n2.seen).toMatchObject([{ url: '/v1/images?name=i' }]);
});
