/** Volumes as disks of guests, over the API and by `hscli`; what a real libvirt does is in e2e. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import { run } from '../../src/cli/program.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { VmDiskChange, VmDisks } from '../../src/vm/vms.ts';
import { FakeService, quiet, startApi } from './api-fake-service.ts';

const uuid = '11111111-2222-4333-8444-555555555555';
const disk = {
  ...{ volume: 'id', name: 'db1', target: 'vdb', bus: 'virtio' },
  ...{ live: true, persistent: true },
};
const done: VmDiskChange = { node: 'n1', uuid, vm: 'web 1', disk, changed: true, notes: [] };

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
let calls: unknown[][];

beforeEach(async () => {
  service = new FakeService();
  calls = [];
  service.vms = fakeDisks();
  api = await startApi(service);
});
afterEach(() => api.stop());

function fakeDisks(): VmDisks {
  const vm = { node: 'n1', uuid, name: 'web 1', state: 'running', persistent: true, disks: [disk] };
  return {
    list: async (cluster) => {
      calls.push(['list', cluster]);
      const missing = cluster ? [{ node: 'n2', reason: 'no libvirt' }] : [];
      return { vms: [vm], missing };
    },
    attach: async (...[name, volume, options]) => {
      calls.push(['attach', name, volume, options]);
      return done;
    },
    detach: async (...[name, volume, guestMs]) => {
      calls.push(['detach', name, volume, guestMs]);
      if (name === 'stubborn') {
        throw new HyperscaleError('guest-refused', 'the guest did not let go of it');
      }
      return done;
    },
    defineDisk: async (...[volume, wishes]) => {
      calls.push(['defineDisk', volume, wishes]);
      return { node: 'n1', volume: 'id', name: volume, xml: '<disk/>' };
    },
    here: {
      find: async () => ({ place: null, problem: null }),
      list: async () => ({ vms: [], missing: [] }),
      attachDisk: async () => done,
      detachDisk: async () => done,
    },
  };
}

async function hscli(...args: string[]): Promise<{ exit: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const env = { HYPERSCALE_SOCKET: api.socket };
  const { signal } = new AbortController();
  const io = { stdout, stderr, stdin: new PassThrough(), env, signal };
  const exit = await run(args, io);
  const text = (stream: PassThrough) => String((stream.read() as Buffer | null) ?? '');
  return { exit, out: text(stdout), err: text(stderr) };
}

test('hscli gives a volume to a guest as it was asked to', async () => {
  const { out } = await hscli('vm', 'attach', 'web 1', 'db1');
  expect(out).toBe('Volume db1 is now disk vdb of web 1 on n1.\n');
  const more = ['--target', 'sdb', '--bus', 'scsi', '--boot-order', '2', '--read-only'];
  await hscli('vm', 'attach', 'web 1', 'db1', ...more, '--no-persist');
  expect(calls).toEqual([
    ['attach', 'web 1', 'db1', { persist: true }],
    [
      ...['attach', 'web 1', 'db1'],
      { persist: false, target: 'sdb', bus: 'scsi', bootOrder: 2, readOnly: true },
    ],
  ]);
});

test('hscli lets --timeout say how long the guest is waited for', async () => {
  await hscli('vm', 'detach', 'web 1', 'db1');
  await hscli('vm', 'detach', 'web 1', 'db1', '--timeout', '1.5');
  await hscli('--timeout', '0', 'vm', 'detach', 'web 1', 'db1');
  expect(calls.map((call) => call[3])).toEqual([30_000, 1_500, 86_400_000]);
  const refused = await hscli('vm', 'detach', 'stubborn', 'db1');
  expect(refused).toMatchObject({ exit: 7, err: expect.stringContaining('did not let go') });
});

test('hscli lists guests, and says who did not answer', async () => {
  const { out, err } = await hscli('vm', 'list', '--cluster');
  expect(out).toMatch(/web 1 +n1 +running +vdb db1 +1111/);
  expect(err).toContain('what n2 has is not known: no libvirt');
  expect((await hscli('vm', 'define-disk', 'db1', '--target', 'vdc')).out).toBe('<disk/>\n');
  expect(calls).toEqual([
    ['list', true],
    ['defineDisk', 'db1', { target: 'vdc' }],
  ]);
});

test('what makes no sense is refused before anything is done', async () => {
  const app = await buildApp(service, { via: 'unix' }, quiet);
  const ask = async (method: 'POST' | 'DELETE', url: string, payload?: object) =>
    (await app.inject({ method, url, ...(payload === undefined ? {} : { payload }) })).statusCode;
  const bodies = [
    ...[{}, { volume: '' }, { volume: '../etc' }, { volume: 7 }, { volume: 'db1', extra: 1 }],
    ...[
      { volume: 'db1', target: 'vda"/>' },
      { volume: 'db1', target: 'nvme0' },
    ],
    ...[
      { volume: 'db1', bus: 'nvme' },
      { volume: 'db1', bootOrder: 0 },
    ],
    ...[
      { volume: 'db1', bootOrder: 1.5 },
      { volume: 'db1', persist: 'no' },
    ],
  ];
  for (const body of bodies) {
    expect(await ask('POST', '/v1/vms/web1/disks', body), JSON.stringify(body)).toBe(400);
  }
  for (const seconds of ['-1', '1e9', '99999', 'soon', '1.2345']) {
    const url = `/v1/vms/web1/disks/db1?guestSeconds=${seconds}`;
    expect(await ask('DELETE', url), seconds).toBe(400);
  }
  expect(await ask('POST', `/v1/vms/${'x'.repeat(300)}/disks`, { volume: 'db1' })).toBe(400);
  expect(await ask('POST', '/v1/vms/a%00b/disks', { volume: 'db1' })).toBe(400);
  expect(await ask('POST', '/v1/volumes/db1/disk', { persist: true })).toBe(400);
  expect(calls).toEqual([]);
  service.vms = null;
  expect(await ask('POST', '/v1/vms/web1/disks', { volume: 'db1' })).toBe(503);
  await app.close();
});
