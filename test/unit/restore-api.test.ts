/** What the API, `hscli`, reports and duties make of restores, without a cluster. */
import { PassThrough } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type App, buildApp } from '../../src/api/app.ts';
import type { RestoreRequest } from '../../src/api/restore-service.ts';
import { run } from '../../src/cli/program.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { nextDuty } from '../../src/node/duties.ts';
import { describeVolume } from '../../src/volume/health.ts';
import { limitsOf } from '../../src/volume/limits.ts';
import type { Restoring, SealedLayer, Volume } from '../../src/volume/types.ts';
import { FakeService, quiet, startApi, volumeRecord } from './api-fake-service.ts';
import { attachment, bootOf, node, open, poolOf, record, sealed } from './volume/fixtures.ts';

const id = '01932f5e'.repeat(4);
const restoredFrom = { target: 'nas', backup: id, volume: 'v0', volumeName: 'db1', at: '2026' };

let service: FakeService;
let asked: RestoreRequest[];
beforeEach(() => {
  service = new FakeService();
  asked = [];
  service.restores = {
    restore: (request) => {
      asked.push(request);
      if (request.target === 'hurt') {
        return Promise.reject(new HyperscaleError('damaged', '1048576 bytes at 0 are lost'));
      }
      return Promise.resolve(volumeRecord({ name: request.name, restoredFrom }));
    },
  };
});

describe('POST /v1/volumes/restore', () => {
  let app: App;
  beforeEach(async () => {
    app = await buildApp(service, { via: 'unix' }, quiet);
  });
  afterEach(() => app.close());

  const ask = async (payload: object) => {
    const headers = { 'content-type': 'application/json' };
    const url = '/v1/volumes/restore';
    const { statusCode, ...answer } = await app.inject({ method: 'POST', url, payload, headers });
    return { status: statusCode, body: answer.json(), headers: answer.headers };
  };
  const good = { name: 'new', target: 'nas', backup: id };

  test('restores a backup, or the newest one up to a time', async () => {
    const { status, body, headers } = await ask(good);
    expect([status, body.name]).toEqual([201, 'new']);
    expect(headers.location).toBe(`/v1/volumes/${volumeRecord().id}`);
    const at = '2026-11-23T05:00:00+01:00';
    await ask({ name: 'b', target: 'nas', volume: 'db1', at, policy: 'Gold', stream: true });
    await ask({ name: 'c', target: 'nas', volume: 'db1' });
    expect(asked).toMatchObject([
      {
        name: 'new',
        target: 'nas',
        wish: { backup: id },
        stream: false,
        policy: { name: 'Silver' },
      },
      { wish: { volume: 'db1', at: Date.parse(at) }, stream: true, policy: { name: 'Gold' } },
      { wish: { volume: 'db1', at: null } },
    ]);
  });

  test.each<[string, object]>([
    ['no backup', { name: 'new', target: 'nas' }],
    ['two ways to name one', { ...good, volume: 'db1' }],
    ['a time of a backup', { ...good, at: '2026-11-23T04:00:00Z' }],
    ['a time without a zone', { name: 'n', target: 'nas', volume: 'v', at: '2026-11-23T04:00' }],
    ['no time', { name: 'n', target: 'nas', volume: 'v', at: '2026-13-41T99:00:00Z' }],
    ['a path for an id', { ...good, backup: '../../etc/passwd' }],
    ['a short id', { ...good, backup: '01932f5' }],
    ['a path for a target', { ...good, target: '../nas' }],
    ['a name of another type', { ...good, name: 5 }],
    ['a long name', { ...good, name: 'n'.repeat(64) }],
    ['a name that looks like an id', { ...good, name: volumeRecord().id }],
    ['no such policy', { ...good, policy: 'Lead' }],
    ['more than there is', { ...good, force: true }],
  ])('refuses %s', async (_, payload) => {
    expect((await ask(payload)).status).toBe(400);
    expect(asked).toEqual([]);
  });

  test('says so where nothing is restored', async () => {
    service.restores = null;
    expect((await ask(good)).body.code).toBe('not-supported');
  });
});

test('hscli asks for what it is told to, and tells of damage', async () => {
  const { socket, stop } = await startApi(service);
  const hscli = async (...args: string[]) => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const { signal } = new AbortController();
    const io = {
      stdout,
      stderr,
      stdin: new PassThrough(),
      env: { HYPERSCALE_SOCKET: socket },
      signal,
    };
    const exit = await run(['backup', 'restore', ...args], io);
    stdout.end();
    stderr.end();
    return `${exit} ${await textOf(stdout)}${await textOf(stderr)}`;
  };
  const at = '2026-11-23T04:00:00Z';
  expect(await hscli('nas/01932f5e', '--name', 'new')).toBe(
    '0 Volume new (1 GiB, Gold) is ready.\n',
  );
  expect(await hscli('nas', '--volume', 'db1', '--at', at, '--name', 'b', '--stream')).toBe(
    '0 Volume b (1 GiB, Gold) is ready; its content follows.\n',
  );
  expect(asked).toMatchObject([
    { wish: { backup: '01932f5e' }, stream: false },
    { wish: { volume: 'db1', at: Date.parse(at) }, stream: true },
  ]);
  expect(await hscli('hurt/01932f5e', '--name', 'x')).toMatch(/^9 .*1048576 bytes at 0 are lost/);
  for (const args of [
    ['nas', '--name', 'x'],
    ['nas/', '--name', 'x'],
    ['nas/a/b', '--name', 'x'],
    ['nas/01932f5e', '--volume', 'v', '--name', 'x'],
    ['nas/01932f5e', '--at', at, '--name', 'x'],
    ['nas', '--volume', 'v', '--at', 'monday-ish', '--name', 'x'],
    ['nas/01932f5e'],
  ]) {
    expect(await hscli(...args)).toMatch(/^2 /);
  }
  await stop();
});

const place = (name: string, port: number | null): Restoring => ({
  ...{ node: name, pool: poolOf(name) },
  port,
});
const restoring = (of: Restoring): SealedLayer =>
  sealed(1, [`${of.node}+`], { manifest: null, bytes: null, restoring: of });

describe('a report of a volume that is being restored', () => {
  const nodes = (up: boolean) => [node('n1', { up }), node('n2', {})];
  const report = (of: Restoring, up = true) =>
    describeVolume(record({ chain: [restoring(of)] }), nodes(up), []);

  test('says that it is at risk while it can be read, and else why it cannot', () => {
    expect(report(place('n1', 7_500))).toMatchObject({
      state: 'at-risk',
      summary: 'Layer 1 is being restored from a backup on n1.',
    });
    expect(report(place('n1', 7_500), false)).toMatchObject({
      state: 'unavailable',
      findings: [{ why: 'n1 is down.' }],
    });
    const away = report({ ...place('n1', 7_500), problem: 'the target is away' });
    expect(away).toMatchObject({
      state: 'unavailable',
      findings: [{ why: 'the target is away.' }],
    });
  });
});

describe('a head that reads a backup', () => {
  const volume = (layer: SealedLayer): Volume =>
    record({ attachments: [attachment('n1')], tail: open(2, ['n1', 'n2']), chain: [layer] });
  const duty = (layer: SealedLayer, down: string[] = [], ofParent = false) => {
    const own = volume(layer);
    const { tail } = own;
    if (tail.phase !== 'open') throw new Error('it is open');
    const { id, epoch, sizeBytes } = tail.layer;
    const [, peer] = tail.layer.members;
    const source = { layer: 'layer-1', from: 'n2', fromBoot: bootOf('n2'), backupPort: 7_500 };
    return nextDuty({
      volume: ofParent ? { ...own, chain: [] } : own,
      below: ofParent ? [layer] : [],
      self: { node: 'n1', pool: poolOf('n1'), boot: bootOf('n1') },
      nodes: ['n1', 'n2', 'n3'].map((name) => node(name, { up: !down.includes(name) })),
      local: {
        ...{ openLayerBurnt: false, proxy: null, listening: null, gateways: [] },
        ...{ failed: new Set(), avoid: new Set(), settled: true, leasesKnown: true },
        head: {
          ...{ volume: 'v', layer: id, epoch, sizeBytes, pid: 7, sessions: ['session-n1'] },
          ...{ sealed: [source], peers: [peer?.node ?? ''], limits: limitsOf(record({})) },
        },
      },
    });
  };

  test('goes on while it is served there', () => {
    expect(duty(restoring(place('n2', 7_500)))).toBeNull();
    expect(duty(restoring(place('n2', 7_500)), [], true)).toBeNull();
  });

  test('is exchanged when it is served elsewhere, as soon as it is', () => {
    expect(duty(restoring(place('n3', null)))).toBeNull();
    expect(duty(restoring(place('n3', 7_500)))).toEqual({ kind: 'roll', reason: 'evict' });
    expect(duty(restoring(place('n2', 7_501)))).toEqual({ kind: 'roll', reason: 'evict' });
    expect(duty(restoring(place('n2', 7_501)), [], true)).toMatchObject({ reason: 'evict' });
    expect(duty(restoring(place('n3', 7_500)), ['n3'])).toBeNull();
  });

  test('is exchanged when a copy is there that can be read', () => {
    const roll = { kind: 'roll', reason: 'localise' };
    expect(duty(sealed(1, ['n3']))).toEqual(roll);
    expect(duty(sealed(1, ['n3']), [], true)).toEqual(roll);
    expect(duty(sealed(1, ['n1']))).toEqual(roll);
    expect(duty(sealed(1, ['n3']), ['n3'])).toBeNull();
  });
});
