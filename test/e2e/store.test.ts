/** The metadata store on a real etcd: what it promises when etcd crashes, hangs or is damaged. */

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createEtcdStore, type EtcdStore } from '../../src/store/etcd-store.ts';
import { type ManagedEtcd, startManagedEtcd } from '../../src/store/managed-etcd.ts';
import type { StoreChange, Versioned } from '../../src/store/store.ts';
import type { NodeLease, NodeRecord, Volume } from '../../src/volume/types.ts';
import { freePort } from './engine-fixture.ts';

const run = promisify(execFile);

type LogLine = { level: string; values: object; message: string };
let lines: LogLine[];
let directory: string;
let ports: { clientPort: number; peerPort: number };
let etcd: ManagedEtcd;
let stores: EtcdStore[];
/** Every etcd that ran, to be sure that none is left. */
let pids: Set<number>;

const log = {
  info: (values: object, message: string) => void lines.push({ level: 'info', values, message }),
  warn: (values: object, message: string) => void lines.push({ level: 'warn', values, message }),
  error: (values: object, message: string) => void lines.push({ level: 'error', values, message }),
};

async function startEtcd(): Promise<ManagedEtcd> {
  const paths = { dataDirectory: join(directory, 'data'), runDirectory: join(directory, 'run') };
  const logDirectory = join(directory, 'log');
  const started = await startManagedEtcd({
    ...paths,
    logDirectory,
    address: '127.0.0.1',
    ...ports,
    log,
  });
  pids.add(started.pid());
  return started;
}

async function openStore(
  requestTimeoutMs = 10_000,
  endpoints = etcd.endpoints,
): Promise<EtcdStore> {
  const store = await createEtcdStore({ endpoints, log, requestTimeoutMs });
  stores.push(store);
  return store;
}

/** Stands between a store and etcd to lose answers, or to deliver requests late. */
async function startProxy(port: number, listenPort = 0) {
  const clients = new Set<Socket>();
  const held = new Set<Socket>();
  const upstreams = new Set<Socket>();
  let late: (() => void)[] = [];
  const server = createServer((client) => {
    // The upstream side outlives the client's, as a socket of a hung etcd does.
    const upstream = connect(port, '127.0.0.1');
    clients.add(client);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('close', () => clients.delete(client));
    client.on('data', (chunk) => {
      if (proxy.requests === 'held' || held.has(client)) late.push(() => upstream.write(chunk));
      else upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (proxy.answers === 'pass' && !client.destroyed) client.write(chunk);
    });
    upstream.on('close', () => client.destroy());
    upstreams.add(upstream);
  });
  await new Promise<void>((resolve) => server.listen(listenPort, '127.0.0.1', () => resolve()));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const proxy = {
    endpoint: `http://127.0.0.1:${address.port}`,
    requests: 'pass' as 'pass' | 'held',
    answers: 'pass' as 'pass' | 'lost',
    /** Ends what the store has open; etcd's side stays, with what is on its way. */
    cut(): void {
      for (const client of clients) client.destroy();
    },
    /** Holds the requests of the connections that there are, not of later ones. */
    holdPresent(): void {
      for (const client of clients) held.add(client);
    },
    /** Delivers the held requests, and passes what comes. */
    release(): void {
      proxy.requests = 'pass';
      for (const deliver of late) deliver();
      late = [];
      held.clear();
    },
    async close(): Promise<void> {
      proxy.cut();
      for (const upstream of upstreams) upstream.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

/** Runs etcdctl, as an operator or a fault would. */
async function etcdctl(...args: string[]): Promise<string> {
  const { stdout } = await run('etcdctl', [`--endpoints=${etcd.endpoints[0]}`, ...args], {
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  return stdout;
}

function newVolume(name: string): Volume {
  return {
    schema: 1,
    id: randomUUID(),
    name,
    sizeBytes: 1 << 30,
    policy: { name: 'Silver', reflections: 1, maxIops: 0, maxLayers: 8 },
    createdAt: '2026-01-01T00:00:00.000Z',
    epoch: 0,
    attachments: [],
    chain: [],
    tail: { phase: 'idle' },
    merge: null,
    garbage: [],
    operation: randomUUID(),
  };
}

function changed(version: Versioned<Volume>, epoch: number): Volume {
  return { ...version.value, epoch, operation: randomUUID() };
}

const record: NodeRecord = {
  name: 'n1',
  pool: 'pool-1',
  address: '127.0.0.1',
  apiPort: 1,
  replicaPort: 2,
  registeredAt: '2026-01-01T00:00:00.000Z',
};
const lease: NodeLease = {
  name: 'n1',
  pool: 'pool-1',
  boot: 'boot-1',
  version: '0',
  totalBytes: 10,
  freeBytes: 5,
};

function signalEtcd(signal: NodeJS.Signals): void {
  process.kill(etcd.pid(), signal);
}

/** Takes milliseconds, unless the machine is busy. */
async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 30_000, interval: 10 });
}

beforeEach(async () => {
  lines = [];
  stores = [];
  pids = new Set();
  directory = await mkdtemp(join(tmpdir(), 'hyperscale-store-'));
  ports = { clientPort: await freePort(), peerPort: await freePort() };
  etcd = await startEtcd();
});

afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await etcd.kill();
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
  await rm(directory, { recursive: true, force: true });
});

test('of two swaps of the same version exactly one wins', async () => {
  const [a, b] = [await openStore(), await openStore()];
  let version = await a.create(newVolume('v'));
  for (let epoch = 1; epoch <= 50; epoch++) {
    const results: (Versioned<Volume> | undefined)[] = await Promise.all([
      a.swap(version, changed(version, epoch)),
      b.swap(version, changed(version, epoch)),
    ]);
    const winners = results.filter((result) => result !== undefined);
    expect(winners).toHaveLength(1);
    version = winners[0] as Versioned<Volume>;
    expect(await a.readVolume(version.value.id)).toEqual(version);
    // The loser has the winner's version in its cache at once.
    expect([a, b].map((store) => store.volume(version.value.id))).toEqual([version, version]);
  }
});

test('a name is taken once, and free again after the removal', async () => {
  const store = await openStore();
  const first = await store.create(newVolume('v'));
  expect(store.volumeNamed('v')).toEqual(first);
  await expect(store.create(newVolume('v'))).rejects.toMatchObject({ code: 'exists' });
  const second = await store.swap(first, changed(first, 1));
  expect(await store.remove(first)).toBe(false);
  expect(second && (await store.remove(second))).toBe(true);
  expect(second && (await store.remove(second))).toBe(false);
  expect(store.volumes()).toEqual([]);
  expect(await store.readVolume(first.value.id)).toBeUndefined();
  expect((await store.create(newVolume('v'))).value.name).toBe('v');
});

test('a change is told once to the one who made it and to everyone who watches', async () => {
  const [a, b] = [await openStore(), await openStore()];
  const told: StoreChange[][] = [[], []];
  [a, b].forEach((store, i) => {
    store.onChange((change) => told[i]?.push(change));
  });
  const first = await a.create(newVolume('v'));
  expect(told[0]).toHaveLength(1);
  const second = (await a.swap(first, changed(first, 1))) as Versioned<Volume>;
  expect(told[0]).toHaveLength(2);
  expect(await a.remove(second)).toBe(true);
  const { id } = first.value;
  const expected = [first, second, null].map((volume) => ({ kind: 'volume', id, volume }));
  await until(() => told[1]?.length === 3);
  // A later change of another kind shows that no duplicate is still on its way.
  await a.registerNode(record);
  await until(() => told[1]?.length === 4 && told[0]?.length === 4);
  const node = { kind: 'node', name: 'n1', node: { ...record, lease: null } };
  expect(told).toEqual([
    [...expected, node],
    [...expected, node],
  ]);
});

test('a node is refused when its name is recorded with another pool', async () => {
  const store = await openStore();
  await store.registerNode(record);
  await store.registerNode({ ...record, address: '127.0.0.2', registeredAt: 'later' });
  expect(store.node('n1')).toEqual({ ...record, address: '127.0.0.2', lease: null });
  await expect(store.registerNode({ ...record, pool: 'other' })).rejects.toMatchObject({
    code: 'foreign-pool',
  });
});

test("a node's lease runs out when its process is gone, and only then a fence may rely on it", async () => {
  const [a, b] = [await openStore(), await openStore()];
  await a.registerNode(record);
  const keeper = await a.keepLease(lease);
  // As soon as the watch has told of it.
  await until(() => performance.now() - a.leaseConfirmedAt() < 1_000);
  const confirmed = a.leaseConfirmedAt();
  await keeper.update({ ...lease, freeBytes: 4 });
  await until(() => b.node('n1')?.lease?.freeBytes === 4);
  await until(() => a.leaseConfirmedAt() > confirmed);
  const version = await b.create(newVolume('v'));
  expect(await b.swap(version, changed(version, 1), { leaseGone: 'n1' })).toBeUndefined();
  await a.close();
  await until(() => b.node('n1')?.lease === null);
  expect(performance.now() - a.leaseConfirmedAt()).toBeGreaterThan(5000);
  expect(await b.swap(version, changed(version, 1), { leaseGone: 'n1' })).toBeDefined();
});

test('a lost lease is taken anew, and a deleted record written again', async () => {
  const store = await openStore();
  await store.registerNode(record);
  await store.keepLease(lease);
  // It is away for a moment only.
  let losses = 0;
  store.onChange((change) => {
    if (change.kind === 'node' && change.node?.lease === null) losses += 1;
  });
  await etcdctl('del', '/hyperscale/leases/n1');
  await until(() => losses === 1 && store.node('n1')?.lease !== null);
  const id = (await etcdctl('lease', 'list')).trim().split('\n').at(-1) as string;
  await etcdctl('lease', 'revoke', id);
  await until(() => losses === 2);
  const lostAt = performance.now();
  await until(() => store.node('n1')?.lease !== null);
  await until(() => store.leaseConfirmedAt() > lostAt);
});

test('a lease counts as confirmed when the request was sent, not when it was answered', async () => {
  const proxy = await startProxy(ports.clientPort);
  const store = await openStore(10_000, [proxy.endpoint]);
  await store.keepLease(lease);
  proxy.requests = 'held';
  const before = store.leaseConfirmedAt();
  await sleep(1500);
  const releasedAt = performance.now();
  proxy.release();
  while (store.leaseConfirmedAt() === before) await sleep(1);
  expect(store.leaseConfirmedAt()).toBeGreaterThan(before);
  expect(store.leaseConfirmedAt()).toBeLessThan(releasedAt);
  await proxy.close();
});

test('after SIGKILL etcd is started again, nothing is lost and everything goes on', async () => {
  const [a, b] = [await openStore(), await openStore()];
  await a.registerNode(record);
  await a.keepLease(lease);
  let version = await a.create(newVolume('v'));
  const doomed = await a.create(newVolume('doomed'));
  const connection: boolean[] = [];
  b.onConnection((connected) => {
    connection.push(connected);
    // Told only when the cache is current again.
    if (connected) expect(b.volumes()).toHaveLength(2);
  });
  const killedAt = performance.now();
  signalEtcd('SIGKILL');
  await until(() => !b.connected());
  // A swap made while it is away waits and is done when it is back.
  version = (await a.swap(version, changed(version, 7))) as Versioned<Volume>;
  expect(version.value.epoch).toBe(7);
  const backAfter = performance.now() - killedAt;
  expect(backAfter).toBeLessThan(9_000);
  pids.add(etcd.pid());
  await until(() => b.connected() && b.volumeNamed('v')?.value.epoch === 7);
  expect(connection).toEqual([false, true]);
  const backAt = performance.now();
  await until(() => a.leaseConfirmedAt() > backAt);
  expect(b.node('n1')?.lease).toEqual(lease);
  // The watch delivers again, removals too.
  expect(await a.remove(doomed)).toBe(true);
  await until(() => b.volume(doomed.value.id) === undefined);
});

test('what changed while the watch was lost is told afterwards, removals included', async () => {
  const proxy = await startProxy(ports.clientPort);
  const [a, b] = [await openStore(), await openStore(10_000, [proxy.endpoint])];
  const kept = await a.create(newVolume('kept'));
  const removed = await a.create(newVolume('removed'));
  await a.create(newVolume('unchanged'));
  await until(() => b.volumes().length === 3);
  const told: StoreChange[] = [];
  b.onChange((change) => told.push(change));
  await proxy.close();
  await until(() => !b.connected());
  const version = await a.swap(kept, changed(kept, 3));
  expect(await a.remove(removed)).toBe(true);
  await etcdctl('compact', a.revision());
  expect(b.volumes()).toHaveLength(3);
  const again = await startProxy(ports.clientPort, Number(new URL(proxy.endpoint).port));
  await until(() => b.connected());
  expect(told).toHaveLength(2);
  expect(told).toContainEqual({ kind: 'volume', id: kept.value.id, volume: version });
  expect(told).toContainEqual({ kind: 'volume', id: removed.value.id, volume: null });
  expect(b.volumeNamed('removed')).toBeUndefined();
  await again.close();
});

test('a frozen etcd is noticed, and after it goes on all is current soon', async () => {
  const [a, b] = [await openStore(1500), await openStore(20_000)];
  await a.registerNode(record);
  await a.keepLease(lease);
  const version = await a.create(newVolume('v'));
  await until(() => b.volumes().length === 1);
  const confirmedBefore = a.leaseConfirmedAt();
  signalEtcd('SIGSTOP');
  const stoppedAt = performance.now();
  const waiting = b.swap(version, changed(version, 2));
  await expect(a.swap(version, changed(version, 1))).rejects.toMatchObject({
    code: 'store-unavailable',
    values: { outcome: 'unknown' },
  });
  await until(() => !a.connected() && !b.connected());
  await sleep(stoppedAt + 8000 - performance.now());
  expect(a.leaseConfirmedAt() - confirmedBefore).toBeLessThan(1500);
  signalEtcd('SIGCONT');
  const wokenAt = performance.now();
  const swapped = await waiting;
  const now = await b.readVolume(version.value.id);
  // One of the two happened, and the one who was promised an answer has the right one.
  expect([1, 2]).toContain(now?.value.epoch);
  expect(swapped).toEqual(now?.value.epoch === 2 ? now : undefined);
  await until(() => a.connected() && a.volumeNamed('v')?.revision === now?.revision);
  await until(() => a.leaseConfirmedAt() > wokenAt && b.node('n1')?.lease !== null);
  expect(performance.now() - wokenAt).toBeLessThan(9_000);
});

test('a swap whose answer was lost is recognised, even under what others did since', async () => {
  const proxy = await startProxy(ports.clientPort);
  const a = await openStore(2000, [proxy.endpoint]);
  const b = await openStore();
  const version = await a.create(newVolume('v'));
  await until(() => b.volumes().length === 1);
  const next = changed(version, 1);
  proxy.answers = 'lost';
  const waiting = a.swap(version, next);
  await until(() => b.volumeNamed('v')?.value.operation === next.operation);
  let theirs = b.volumeNamed('v');
  for (const epoch of [2, 3]) {
    theirs = theirs && (await b.swap(theirs, changed(theirs, epoch)));
  }
  proxy.answers = 'pass';
  proxy.cut();
  expect((await waiting)?.value).toEqual(next);
  expect(a.volumeNamed('v')).toEqual(theirs);
  // The same for what makes and removes a record.
  proxy.answers = 'lost';
  const creating = a.create(newVolume('w'));
  await until(() => b.volumeNamed('w') !== undefined);
  proxy.answers = 'pass';
  proxy.cut();
  const created = await creating;
  expect(created).toEqual(b.volumeNamed('w'));
  proxy.answers = 'lost';
  const removing = a.remove(created);
  await until(() => b.volumeNamed('w') === undefined);
  proxy.answers = 'pass';
  proxy.cut();
  expect(await removing).toBe(true);
  await proxy.close();
});

test('a swap that was given up cannot land later behind another', async () => {
  const proxy = await startProxy(ports.clientPort);
  const a = await openStore(6000, [proxy.endpoint]);
  const b = await openStore();
  const version = await a.create(newVolume('v'));
  proxy.holdPresent();
  const waiting = a.swap(version, changed(version, 1));
  // The first copy is on its way still; the second one is what counts.
  const done = (await waiting) as Versioned<Volume>;
  expect(done.value.epoch).toBe(1);
  proxy.release();
  await sleep(200);
  expect(await b.readVolume(version.value.id)).toEqual(done);
  // Out of time altogether: the outcome is said to be unknown, and the next swap settles it.
  proxy.requests = 'held';
  await expect(a.swap(done, changed(done, 2))).rejects.toMatchObject({
    code: 'store-unavailable',
    values: { outcome: 'unknown' },
  });
  const other = await b.swap(done, changed(done, 3));
  proxy.release();
  await sleep(200);
  expect(await b.readVolume(version.value.id)).toEqual(other);
  await proxy.close();
});

test('a damaged record is left out, named in the log, and does not disturb the others', async () => {
  const a = await openStore();
  const good = await a.create(newVolume('good'));
  const spoilt = await a.create(newVolume('spoilt'));
  const spoiltKey = `/hyperscale/volumes/${spoilt.value.id}`;
  await etcdctl('put', '/hyperscale/volumes/x', 'not json');
  await etcdctl('put', '/hyperscale/volumes/y', '{"schema":2,"id":"y"}');
  await etcdctl('put', '/hyperscale/leases/z', '[]');
  await etcdctl('put', spoiltKey, '{"schema":1}');
  const errors = () => lines.filter(({ level }) => level === 'error');
  await until(() => errors().length === 4);
  // What could be read before stays, so that what runs goes on; it cannot be changed.
  expect(a.volumes()).toEqual([good, spoilt]);
  expect(await a.swap(spoilt, changed(spoilt, 1))).toBeUndefined();
  await expect(a.readVolume('x')).rejects.toMatchObject({ code: 'internal' });
  await expect(a.readVolume('y')).rejects.toMatchObject({ code: 'old-software' });
  lines = [];
  const b = await openStore();
  expect(b.volumes()).toEqual([good]);
  expect(errors().map(({ message }) => message)).toEqual([
    expect.stringContaining('/hyperscale/leases/z'),
    ...[spoiltKey, '/hyperscale/volumes/x', '/hyperscale/volumes/y']
      .sort()
      .map((key) => expect.stringContaining(key)),
  ]);
  expect(await b.swap(good, changed(good, 1))).toBeDefined();
});

test('an etcd that was emptied is not believed', async () => {
  const store = await openStore(1000);
  const version = await store.create(newVolume('v'));
  await etcd.kill();
  await rm(join(directory, 'data'), { recursive: true });
  etcd = await startEtcd();
  await until(() =>
    lines.some(({ values }) => JSON.stringify(values).includes("another cluster's")),
  );
  expect(store.connected()).toBe(false);
  expect(store.volumes()).toEqual([version]);
  await expect(store.swap(version, changed(version, 1))).rejects.toMatchObject({
    code: 'store-unavailable',
    values: { outcome: 'no' },
  });
});

test('the start waits for etcd and says so, and can be cancelled', async () => {
  await etcd.kill();
  const cancel = new AbortController();
  const { endpoints } = etcd;
  const cancelled = createEtcdStore({ endpoints, log, signal: cancel.signal });
  const opening = openStore();
  const waits = () => lines.filter(({ message }) => message.startsWith('waiting for etcd at http'));
  await until(() => waits().length === 2);
  cancel.abort();
  await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
  etcd = await startEtcd();
  expect((await opening).connected()).toBe(true);
  expect(waits()).toHaveLength(2);
});

test('a running etcd is adopted by the next daemon, and the cluster keeps its id', async () => {
  const clusterId = (await openStore()).clusterId();
  const pid = etcd.pid();
  etcd.release();
  etcd = await startEtcd();
  expect(etcd.pid()).toBe(pid);
  await rm(join(directory, 'run'), { recursive: true });
  etcd.release();
  etcd = await startEtcd();
  expect(etcd.pid()).toBe(pid);
  expect((await openStore()).clusterId()).toBe(clusterId);
  // Adopted, it is watched over as well.
  signalEtcd('SIGKILL');
  await until(() => etcd.pid() !== pid);
  pids.add(etcd.pid());
});

test('a port that something else answers at is refused, and so is a missing etcd', async () => {
  const other = { ...ports, address: '127.0.0.1', log, logDirectory: join(directory, 'log') };
  const elsewhere = {
    dataDirectory: join(directory, 'data2'),
    runDirectory: join(directory, 'r2'),
  };
  await expect(startManagedEtcd({ ...other, ...elsewhere })).rejects.toMatchObject({
    code: 'already-running',
  });
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    const clientPort = await freePort();
    await expect(startManagedEtcd({ ...other, ...elsewhere, clientPort })).rejects.toMatchObject({
      code: 'engine',
      hint: expect.stringContaining('apt-get install etcd-server'),
    });
  } finally {
    process.env.PATH = path;
  }
});
