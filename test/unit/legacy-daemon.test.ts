/** Legacy calls that the daemon carries out for hscli. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import { type Api, createApi } from '../../src/api/server.ts';
import { FakeService, quiet } from './api-fake-service.ts';

let directory: string;
let api: Api;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hs-legacy-'));
  api = createApi(new FakeService(), { secret: 's'.repeat(32), log: quiet });
  await api.listenUnix(join(directory, 'api.sock'));
});
afterEach(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
});

/** As `libexec/legacy-call` does. */
async function ask(body: unknown): Promise<{ status: number; body: string }> {
  const args = ['--silent', '--unix-socket', join(directory, 'api.sock'), '--data-raw'];
  const head = ['--header', 'content-type: application/json', '--write-out', '\n%{http_code}'];
  const asked = [...args, JSON.stringify(body), ...head, 'http://hyperscale/v1/legacy'];
  const { stdout } = await promisify(execFile)('curl', asked, { timeout: 5_000 });
  const at = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
}

test('one that can be done is answered with exit status, reply and standard error', async () => {
  expect(await ask({ operation: 'get_datanode_id' })).toEqual({
    status: 200,
    body: '0\n{"token":"get_datanode_id","err_code":0,"err_msg":"","payload":"n1"}\n',
  });
  const missing = await ask({ operation: 'connect_volume' });
  expect(missing.status).toBe(200);
  const [exit, reply = '', ...said] = missing.body.split('\n');
  expect(exit).toBe('2');
  expect(JSON.parse(reply)).toMatchObject({ token: 'connect_volume', err_code: 10 });
  expect(said[0]).toMatch(/^hscli: "volume_guid"/);
});

test.each([
  ['with files of its caller', { operation: 'update_image', image_path: '/x' }, 409],
  ['that is none', { operation: 7 }, 400],
  ['that is no object', [], 400],
])('one %s is left to hscli', async (_what, body, status) => {
  expect((await ask(body)).status).toBe(status);
});

test('over TCP there are none', async () => {
  const access = { via: 'tcp', secret: 's'.repeat(32) } as const;
  const app = await buildApp(new FakeService(), access, quiet);
  const answer = await app.inject({
    ...{ method: 'POST', url: '/v1/legacy', payload: { operation: 'version' } },
    headers: { authorization: `Bearer ${access.secret}` },
  });
  expect(answer.json()).toMatchObject({ code: 'not-allowed' });
  await app.close();
});
