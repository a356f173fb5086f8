/** What a daemon in quarantine answers: it can be looked at, and recovered, and nothing else. */
import { expect, it } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import type { RecoverRequest } from '../../src/recovery/recovery.ts';
import { FakeService, quiet, volumeRecord } from './api-fake-service.ts';

async function apart() {
  const service = new FakeService();
  service.quarantined = "the metadata in etcd are another cluster's";
  const record = volumeRecord();
  service.records.set(record.id, record);
  const asked: RecoverRequest[] = [];
  const plan = { volumes: [], nodes: [], retired: [], findings: [], losses: [], refused: null };
  const result = { plan, digest: 'd', needless: false, done: false, accepted: [], failed: [] };
  const recovery = {
    here: {
      facts: () => Promise.reject(new Error('not asked')),
      fence: async () => undefined,
      accept: async () => undefined,
    },
    run: async (request: RecoverRequest) => {
      asked.push(request);
      return result;
    },
  };
  const app = await buildApp(Object.assign(service, { recovery }), { via: 'unix' }, quiet);
  return { app, service, asked };
}

it('refuses every change, and says what to do', async () => {
  const { app, service } = await apart();
  for (const [method, url, body] of [
    ['POST', '/v1/volumes', { name: 'v', sizeBytes: 1 << 20, policy: 'Gold' }],
    ['DELETE', '/v1/volumes/db1', undefined],
    ['POST', '/v1/volumes/db1/attachments', {}],
    ['DELETE', '/v1/volumes/db1/attachments/n1', undefined],
    ['POST', '/v1/volumes/db1/seal', undefined],
  ] as const) {
    const answer = await app.inject({ method, url, ...(body && { payload: body }) });
    expect(answer.statusCode, url).toBe(503);
    expect(answer.json()).toMatchObject({
      code: 'quarantined',
      hint: expect.stringContaining('hscli cluster recover'),
    });
  }
  expect(service.calls).toEqual([]);
  await app.close();
});

it('shows what it knows, and that it stands apart', async () => {
  const { app } = await apart();
  expect((await app.inject('/v1/volumes/db1')).statusCode).toBe(200);
  expect((await app.inject('/v1/health')).json()).toMatchObject({ status: 'quarantined' });
  const cluster = (await app.inject('/v1/cluster')).json();
  expect(cluster).toMatchObject({ state: 'at-risk', quarantine: expect.any(String) });
  expect(cluster.findings[0].what).toMatch(/Node n1 is in quarantine.*Guests run on/);
  await app.close();
});

it('can be told to recover, with nothing taken for granted', async () => {
  const { app, asked } = await apart();
  const ask = (payload: object) =>
    app.inject({ method: 'POST', url: '/v1/cluster/recover', payload });
  expect((await ask({})).json()).toMatchObject({ done: false, digest: 'd' });
  expect(asked).toEqual([{ dryRun: false, acceptDataLoss: false }]);
  expect((await ask({ acceptDataloss: true })).statusCode).toBe(400);
  expect((await ask({ digest: 'odd' })).statusCode).toBe(400);
  expect(asked).toHaveLength(1);
  await app.close();
});
