/** What a verification says of the answers of the nodes, and how `hscli` and the API show it. */
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import { connectPeer } from '../../src/api/peer-client.ts';
import type { CopyCheck, Manifest } from '../../src/api/service.ts';
import { run } from '../../src/cli/program.ts';
import { progressText } from '../../src/cli/verify.ts';
import { type Asked, type Verification, verifiedLayer } from '../../src/cluster/verify.ts';
import { verification } from '../../src/cluster/verify-findings.ts';
import type { HeadState } from '../../src/engine/engine.ts';
import { nextDuty } from '../../src/node/duties.ts';
import { recordDamage } from '../../src/volume/damage.ts';
import { limitsOf } from '../../src/volume/limits.ts';
import { FakeService, quiet, secret, startApi, volumeRecord } from './api-fake-service.ts';
import { attachment, bootOf, node, open, poolOf, record, sealed } from './volume/fixtures.ts';

const mib = 1 << 20;
/** The container of a layer of 64 MiB. */
const containerBytes = 136 * mib;
const chunks = ['a', null, 'b', 'c'];
const wanted: Manifest = {
  layer: 'layer-1',
  chunkBytes: mib,
  lengthBytes: 4 * mib,
  allocatedBytes: 3 * mib,
  root: 'root-1',
  chunks,
};

/** A node read its copy and found these chunks. */
function read(name: string, found: (string | null)[] = chunks, root?: string): Asked {
  const same = found.join() === chunks.join();
  const check: CopyCheck = {
    state: 'read',
    root: root ?? (same ? 'root-1' : `other ${found.join()}`),
    lengthBytes: found.length * mib,
    allocatedBytes: 3 * mib,
    chunks: same ? null : found,
  };
  return { node: name, check };
}

const results = (layer: ReturnType<typeof verifiedLayer>) =>
  layer.copies.map((c) => `${c.node} ${c.result}`);

describe('the comparison of a layer', () => {
  const layer = sealed(1, ['n1', 'n2', 'n3']);
  const compare = (asked: Asked[], of = layer, by: Manifest | null = wanted) =>
    verifiedLayer(of, 1, asked, by);

  test('is with the record, whatever most copies hold', () => {
    const rotten = ['a', null, 'x', 'c'];
    const found = compare([read('n1', rotten), read('n2', rotten), read('n3')]);
    expect(results(found)).toEqual(['n1 differs', 'n2 differs', 'n3 equal']);
    expect(found.against).toBe('record');
    expect(found.copies[0]?.damaged).toEqual([{ offset: 2 * mib, length: mib }]);
  });

  test('tells a missing file, an unreadable part, a cut file and nodes that are down', () => {
    const found = compare([
      { node: 'n1', check: { state: 'missing' } },
      read('n2', ['a', null, 'unreadable', 'c']),
      { node: 'n3', failed: 'node-down', why: 'n3 is down' },
    ]);
    expect(results(found)).toEqual(['n1 missing', 'n2 unreadable', 'n3 node-down']);
    expect(found.copies[0]?.damaged).toEqual([{ offset: 0, length: containerBytes }]);
    expect(found.copies[1]).toMatchObject({
      damaged: [{ offset: 2 * mib, length: mib }],
      why: `the disk does not return ${mib} bytes`,
    });
    const [cut] = compare([read('n1', ['a', null])]).copies;
    expect(cut?.why).toBe(`its file has ${2 * mib} bytes and should have ${4 * mib}`);
    expect(cut?.damaged).toEqual([{ offset: 2 * mib, length: 2 * mib }]);
  });

  test('has all of a file in doubt when nobody knows its chunks', () => {
    const [copy] = compare([read('n1', ['x', null, 'b', 'c'])], layer, null).copies;
    expect(copy?.damaged).toEqual([{ offset: 0, length: containerBytes }]);
  });

  test('leaves out copies that are being made good anyway, unless they are right', () => {
    const mending = sealed(1, ['n1', 'n2?', 'n3+']);
    const rotten = ['x', null, 'b', 'c'];
    const asked = [read('n1'), read('n2', rotten), read('n3', rotten)];
    expect(results(compare(asked, mending))).toEqual([
      'n1 equal',
      'n2 not-checked',
      'n3 not-checked',
    ]);
    expect(results(compare([read('n1'), read('n2'), read('n3')], mending))).toEqual([
      'n1 equal',
      'n2 equal',
      'n3 equal',
    ]);
  });

  test('without a record is with the authority, and says so', () => {
    const unproven = sealed(1, ['n1', 'n2', 'n3'], { manifest: null, authority: 'n2' });
    const asked = [read('n1', chunks, 'x'), read('n2', chunks, 'y'), read('n3', chunks, 'y')];
    const found = compare(asked, unproven, null);
    expect([found.against, ...results(found)]).toEqual([
      'each-other',
      'n1 differs',
      'n2 equal',
      'n3 equal',
    ]);
    const alone = compare([read('n1', chunks, 'x')], unproven, null);
    expect([alone.against, ...results(alone)]).toEqual([
      'nothing',
      'n1 not-checked',
      'n2 not-checked',
      'n3 not-checked',
    ]);
  });
});

describe('the verification in words', () => {
  const volume = record({ chain: [sealed(1, ['n1', 'n2'])] });
  const layer = sealed(1, ['n1', 'n2']);
  const words = (asked: Asked[], of = volume) =>
    verification(of, [verifiedLayer(layer, 1, asked, wanted)]);
  const down: Asked = { node: 'n2', failed: 'node-down', why: 'n2 is down' };
  const rotten = read('n2', ['a', null, 'x', 'c']);

  test('is equal only when every copy was compared', () => {
    expect(words([read('n1'), read('n2')])).toMatchObject({
      result: 'equal',
      summary: 'Every copy of every sealed layer is what was sealed.',
      findings: [],
    });
    expect(words([read('n1'), down])).toMatchObject({
      result: 'incomplete',
      findings: [{ action: 'Bring n2 back, then: hscli volume verify disk' }],
    });
  });

  test('says what is damaged, where, and what mends it', () => {
    const { result, findings } = words([read('n1'), rotten]);
    expect(result).toBe('damaged');
    expect(findings[0]).toMatchObject({
      what: `The copy of layer 1 on n2 is not what was sealed: ${mib} bytes (of its file: ${2 * mib}–${3 * mib - 1}).`,
      action: 'Mend it from n1: hscli volume verify disk --repair',
    });
  });

  test('damage weighs more than a node that is down, which may have it right', () => {
    const [first] = words([read('n1', ['x', null, 'b', 'c']), down]).findings;
    expect(first?.action).toBe('Bring n2 back: a copy there may be good.');
    expect(words([read('n1', ['x', null, 'b', 'c']), down]).result).toBe('damaged');
  });

  test('says what is lost', () => {
    const ranges = [{ offset: 2 * mib, length: mib }];
    const lost = ['n1', 'n2'].reduce(
      (v, name) =>
        recordDamage(
          v,
          'layer-1',
          { node: name, pool: poolOf(name) },
          { ranges, at: '2026-01-01T00:00:00.000Z' },
          () => true,
        ),
      volume,
    );
    const { findings } = words([read('n1', ['a', null, 'y', 'c']), rotten], lost);
    expect(findings.at(-1)?.what).toBe(
      `Of layer 1 no node has ${mib} bytes (of its file: ${2 * mib}–${3 * mib - 1}) as it was sealed.`,
    );
  });
});

describe('the writer of a volume with a damaged copy', () => {
  const chain = [sealed(1, ['n1', 'n2'])];
  const written = record({ chain, tail: open(2, ['n1', 'n2']), attachments: [attachment('n1')] });
  const damaged = recordDamage(
    written,
    'layer-1',
    { node: 'n2', pool: poolOf('n2') },
    { ranges: [{ offset: 0, length: mib }], at: '2026-01-01T00:00:00.000Z' },
    () => true,
  );
  const head: HeadState = {
    volume: 'v',
    layer: 'layer-2',
    epoch: 2,
    sizeBytes: 64 * mib,
    pid: 7,
    sessions: ['session-n1'],
    sealed: [],
    peers: ['n2'],
    limits: limitsOf(written),
  };
  const duty = (volume: typeof written, failed: string[] = []) =>
    nextDuty({
      volume,
      self: { node: 'n1', pool: poolOf('n1'), boot: bootOf('n1') },
      nodes: ['n1', 'n2'].map((name) => node(name)),
      local: {
        head,
        openLayerBurnt: true,
        proxy: null,
        listening: null,
        gateways: [],
        failed: new Set(failed),
        avoid: new Set(),
        settled: false,
        leasesKnown: true,
      },
    });

  test('begins an epoch that does not read it, once, without waiting for a quiet moment', () => {
    expect(duty(written)).toBeNull();
    expect(duty(damaged)).toEqual({ kind: 'roll', reason: 'damaged' });
    const next = { ...damaged, tail: open(3, ['n1', 'n2']), epoch: 3 };
    expect(duty(next)).not.toMatchObject({ reason: 'damaged' });
  });

  test('does not while the layer could be read nowhere', () => {
    const mine = { ...damaged, chain: damaged.chain.map((l) => ({ ...l })) };
    const [layer] = mine.chain;
    if (layer !== undefined) {
      layer.replicas = layer.replicas.map((r) => ({
        ...r,
        node: r.node === 'n1' ? 'n3' : r.node,
      }));
    }
    expect(duty(mine)).not.toMatchObject({ reason: 'damaged' });
  });
});

describe('a verification that nobody waits for any more', () => {
  async function abortedAfter(
    begin: (
      service: FakeService,
      seen: (signal: AbortSignal) => void,
      stop: AbortSignal,
    ) => unknown,
  ): Promise<boolean> {
    const service = new FakeService();
    service.records.set('x', volumeRecord());
    const stop = new AbortController();
    const signal = await new Promise<AbortSignal>((resolve) => {
      begin(service, resolve, stop.signal);
    });
    stop.abort();
    for (let i = 0; i < 100 && !signal.aborted; i += 1) await delay(20);
    return signal.aborted;
  }
  const forever = () => new Promise<never>(() => undefined);

  test('ends when its client goes away', async () => {
    const api: Awaited<ReturnType<typeof startApi>>[] = [];
    const ended = await abortedAfter(async (service, seen, stop) => {
      service.verify = (_name, _wishes, signal: AbortSignal) => {
        seen(signal);
        return forever();
      };
      const started = await startApi(service);
      api.push(started);
      const io = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() };
      await run(['volume', 'verify', 'db1'], {
        ...io,
        env: { HYPERSCALE_SOCKET: started.socket },
        signal: stop,
      });
    });
    expect(ended).toBe(true);
    for (const one of api) await one.stop();
  });

  test('ends on the other nodes as well', async () => {
    const api: Awaited<ReturnType<typeof startApi>>[] = [];
    const ended = await abortedAfter(async (service, seen, stop) => {
      service.peer.verifyLayer = (_request, signal) => {
        seen(signal);
        return forever();
      };
      const started = await startApi(service);
      api.push(started);
      const client = connectPeer({ node: 'n1', address: '127.0.0.1', port: started.port, secret });
      const request = { volume: 'v', layer: 'l', epoch: 1, root: null };
      const error = await client.verifyLayer(request, stop).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'cancelled' });
      await client.close();
    });
    expect(ended).toBe(true);
    for (const one of api) await one.stop();
  });
});

describe('hscli volume verify', () => {
  let service: FakeService;
  let api: Awaited<ReturnType<typeof startApi>>;
  beforeEach(async () => {
    service = new FakeService();
    service.records.set('x', volumeRecord());
    api = await startApi(service);
  });
  afterEach(() => api.stop());

  async function hscli(line: string) {
    const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
    const written = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      streams[name].on('data', (piece: Buffer) => {
        written[name] += piece.toString();
      });
    }
    const env = { HYPERSCALE_SOCKET: api.socket };
    const signal = new AbortController().signal;
    const status = await run(line.split(' '), {
      ...streams,
      stdin: new PassThrough(),
      env,
      signal,
    });
    return { status, ...written };
  }

  function answers(result: Verification['result'], copies: Partial<Verification['layers'][0]>) {
    const layer = {
      number: 1,
      id: 'layer-1',
      epoch: 3,
      state: 'sealed',
      against: 'record',
    } as const;
    const layers = [{ ...layer, copies: [], ...copies }];
    const findings = [{ what: 'What.', why: 'Why.', action: 'Do it.' }];
    service.verification = { id: '', name: '', result, summary: 'Said.', layers, findings };
  }

  const copy = {
    node: 'n1',
    recorded: 'clean' as const,
    damaged: [],
    why: null,
    repaired: false,
  };

  test('has an exit status for equal, damaged and incomplete', async () => {
    expect(await hscli('volume verify db1')).toMatchObject({ status: 0, stderr: '' });
    answers('damaged', {
      copies: [
        { ...copy, result: 'equal', repaired: true },
        { ...copy, node: 'n2', result: 'differs', damaged: [{ offset: mib, length: mib }] },
        { ...copy, node: 'n3', result: 'node-down' },
      ],
    });
    const damaged = await hscli('volume verify db1');
    expect(damaged.status).toBe(9);
    expect(damaged.stdout).toMatch(/1 +3 +n1 +equal, mended +-\n/);
    expect(damaged.stdout).toMatch(/n2 +differs +bytes 1048576–2097151\n/);
    expect(damaged.stdout).toMatch(/n3 +node down: not checked/);
    expect(damaged.stdout).toContain('- What.\n    why: Why.\n    Do it.\n');
    expect(damaged.stderr).toBe('hscli: volume db1 is damaged: Said.\n  what to do: Do it.\n');
    answers('incomplete', {});
    expect((await hscli('volume verify db1 --json')).status).toBe(6);
  });

  test('passes on what is wished, and refuses what is not', async () => {
    await hscli('volume verify db1 --repair --seal');
    expect(service.calls.at(-1)).toEqual(['verify', 'db1', { seal: true, repair: true }]);
    expect((await hscli('volume verify nope')).status).toBe(3);
    expect((await hscli('volume verify')).status).toBe(2);
    const app = await buildApp(service, { via: 'unix' }, quiet);
    const post = (payload: object) =>
      app.inject({ method: 'POST', url: '/v1/volumes/db1/verify', payload });
    expect((await post({ repair: 'yes' })).json()).toMatchObject({ code: 'bad-input' });
    expect((await post({ mend: true })).json()).toMatchObject({ code: 'bad-input' });
    expect((await post({})).json()).toMatchObject({ result: 'equal' });
    await app.close();
  });

  test('shows how far each node is', () => {
    const work = {
      volume: 'v',
      volumeName: 'db1',
      layer: 'l',
      from: null,
      startedAt: '',
      totalBytes: 200,
    };
    const text = progressText('db1', [
      { ...work, node: 'n2', kind: 'verify', doneBytes: 50 },
      { ...work, node: 'n1', kind: 'mend', doneBytes: 199 },
      { ...work, node: 'n3', kind: 'verify', doneBytes: 0, volumeName: 'other' },
    ]);
    expect(text).toBe('Verifying db1: n1 mends 99 %, n2 25 %');
  });
});
