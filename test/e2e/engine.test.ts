import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { HeadFault } from '../../src/engine/engine.ts';
import { mayBeWritten } from '../../src/engine/file-locks.ts';
import { createEngine } from '../../src/engine/index.ts';
import { maxSealedLayers } from '../../src/volume/bounds.ts';
import { EngineBench, mib, nbdUri, qemuIo, sha256, TestVolume } from './engine-fixture.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await EngineBench.create();
});
afterEach(async () => {
  await bench.clean();
});

test('a head writes to its own file and to its peer, and a graceful end leaves them equal', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const open = await volume.open(a, b);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  expect(head.state).toMatchObject({
    volume: volume.id,
    sessions: ['s1'],
    peers: ['b'],
    sealed: [],
  });
  const uri = nbdUri(a.engine.attachSocket(volume.id), 's1');
  await qemuIo(uri, 'write -P 7 0 1M', 'write -P 8 1M 4k', 'discard 512k 128k');
  expect(await head.stop(5000)).toBe(true);
  const files = [a, b].map((node) => node.engine.layers.path(open.layer));
  const [own, peers] = await Promise.all(files.map(sha256));
  expect(own).toBe(peers);
});

test('writes that were acknowledged but not flushed survive SIGKILL of the head', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const first = await volume.open(a, b);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], first, 's1'));
  const faults: HeadFault[] = [];
  head.onFault((fault) => faults.push(fault));
  const consumer = bench.consumer(socket, 's1');
  for (let i = 0; i < 8; i++) await consumer.io(`write -P ${i + 1} ${i * 5}M 4k`);
  const file = a.engine.layers.path(first.layer);
  expect(await mayBeWritten(file)).toBe(true);
  process.kill(head.state.pid, 'SIGKILL');
  await expect.poll(() => faults).toEqual([{ kind: 'died' }]);
  expect(await mayBeWritten(file)).toBe(false);
  consumer.kill();

  const second = await volume.open(a);
  const next = await a.engine.prepareHead(volume.id);
  await next.serve(volume.spec([first], second, 's2'));
  const reads = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `read -P ${i + 1} ${i * 5}M 4k`);
  await qemuIo(nbdUri(socket, 's2'), ...reads);
  // The peer's copy, alone, holds them too.
  const copy = b.engine.layers.path(first.layer);
  await b.engine.replicas.unexport(first.layer.layer, 5000);
  const alone = { driver: 'qcow2', file: { driver: 'file', filename: copy } };
  await qemuIo(`json:${JSON.stringify(alone)}`, ...reads);
});

test('a consumer waits while one head is exchanged for another, and sees no error', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const first = await volume.open(a, b);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], first, 's1'));
  const consumer = bench.consumer(socket, 's1');
  await consumer.io('write -P 1 0 64k');
  const sealed = [first];
  const tookMs: number[] = [];
  // A machine that is busy is slow itself: the fastest of a few exchanges tells.
  for (let old = head; tookMs.length < 5 && !tookMs.some((ms) => ms < 900); ) {
    const open = await volume.open(a, b);
    const next = await a.engine.prepareHead(volume.id);
    await old.kill();
    const write = consumer.io('write -P 2 64k 64k');
    const started = performance.now();
    old = await next.serve(volume.spec([...sealed], open, 's1'));
    await write;
    tookMs.push(performance.now() - started);
    sealed.push(open);
  }
  expect(Math.min(...tookMs)).toBeLessThan(900); // no failed connect, no pause of 1 s
  await consumer.io('read -P 1 0 64k');
  await consumer.io('read -P 2 64k 64k');
});

test('a consumer is not refused either after a head died unexpectedly', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const first = await volume.open(a);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], first, 's1'));
  await qemuIo(nbdUri(socket, 's1'), 'write -P 1 0 64k');
  process.kill(head.state.pid, 'SIGKILL');
  await head.kill();
  // qemu-io itself never reconnects: were it refused, it would fail.
  const read = qemuIo(nbdUri(socket, 's1'), 'read -P 1 0 64k');
  const second = await volume.open(a);
  const next = await a.engine.prepareHead(volume.id, 'waiting');
  await next.serve(volume.spec([first], second, 's1'));
  await read;
  await a.engine.removeAttachSocket(volume.id);
  await expect(qemuIo(nbdUri(socket, 's1'), 'read 0 4k')).rejects.toThrow();
});

test('a removed session finds no export any more; others go on', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const open = await volume.open(a);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  await head.addSession('s2');
  await head.removeSession('s1', 5000);
  expect(head.state.sessions).toEqual(['s2']);
  await expect(qemuIo(nbdUri(socket, 's1'), 'read 0 4k')).rejects.toThrow();
  await qemuIo(nbdUri(socket, 's2'), 'write -P 3 0 4k');
});

test('a peer that answers with an error is reported, and the end is not clean', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b', 4 * mib)];
  const volume = new TestVolume();
  const open = await volume.open(a, b);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  const faults: HeadFault[] = [];
  head.onFault((fault) => faults.push(fault));
  await expect(qemuIo(nbdUri(socket, 's1'), 'write -P 3 0 16M')).rejects.toThrow();
  await expect.poll(() => faults.length).toBeGreaterThan(0);
  expect(faults[0]).toEqual({
    kind: 'member-error',
    node: 'b',
    error: expect.stringContaining('No space left'),
  });
  expect(await head.stop(5000)).toBe(false);
});

test('a head whose peer is frozen does not stop in time, and can be killed', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const open = await volume.open(a, b);
  const socket = a.engine.attachSocket(volume.id);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  const consumer = bench.consumer(socket, 's1');
  await consumer.io('write -P 1 0 4k');
  const server = b.engine.replicas.pid ?? 0;
  process.kill(server, 'SIGSTOP');
  const hung = consumer.io('write -P 2 4k 4k').catch((error: Error) => error);
  const started = performance.now();
  expect(await head.stop(700)).toBe(false);
  await head.kill();
  expect(performance.now() - started).toBeLessThan(10_000);
  process.kill(server, 'SIGCONT');
  consumer.kill();
  expect(await hung).toBeInstanceOf(Error);
});

test('a head that cannot start says why, and leaves nothing behind', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const layer = volume.nextLayer();
  const prepared = await a.engine.prepareHead(volume.id);
  const spec = volume.spec([], { layer, local: true, peers: [] }, 's1');
  await expect(prepared.serve(spec)).rejects.toThrow(/No such file or directory/);
  expect((await a.engine.adopt()).heads).toEqual([]);
});

test('a daemon that was killed leaves its processes running, and its successor adopts them', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const first = await volume.open(a, b);
  const open = await volume.open(a, b);
  const spec = volume.spec([first], open, 's1');
  const script = new URL('./engine-daemon.ts', import.meta.url).pathname;
  const { log: _, ...options } = a.options;
  const daemon = bench.child(
    spawn(process.execPath, [script, JSON.stringify({ options, spec })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  const [line] = (await once(daemon.stdout ?? daemon, 'data')) as [Buffer];
  const before = JSON.parse(line.toString('utf8')) as { head: number; server: number };
  const consumer = bench.consumer(a.engine.attachSocket(volume.id), 's1');
  await consumer.io('write -P 1 0 64k');
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');
  await consumer.io('write -P 2 64k 64k'); // nobody's daemon runs

  const engine = await createEngine(a.options);
  const { heads } = await engine.adopt();
  await engine.replicas.start();
  expect(engine.replicas.pid).toBe(before.server);
  expect(engine.replicas.exports()).toEqual([{ key: first.layer, writable: false }]);
  const [head] = heads;
  expect(heads.length).toBe(1);
  expect(head?.state).toEqual({
    volume: volume.id,
    layer: open.layer.layer,
    epoch: open.layer.epoch,
    sizeBytes: spec.sizeBytes,
    pid: before.head,
    sessions: ['s1'],
    sealed: [{ layer: first.layer.layer, from: null, fromBoot: null }],
    peers: ['b'],
    limits: spec.limits,
  });
  await consumer.io('read -P 2 64k 64k');
  expect(await head?.stop(5000)).toBe(true);
  await engine.replicas.kill();
});

test('a replica server that dies comes back with its exports, and no write fails', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const open = await volume.open(a, b);
  await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  const consumer = bench.consumer(a.engine.attachSocket(volume.id), 's1');
  await consumer.io('write -P 1 0 64k');
  const before = b.engine.replicas.pid ?? 0;
  process.kill(before, 'SIGKILL');
  await consumer.io('write -P 2 64k 64k');
  await consumer.io('read -P 2 64k 64k');
  expect(b.engine.replicas.pid).not.toBe(before);
  expect(b.engine.replicas.exports()).toEqual([{ key: open.layer, writable: true }]);
});

test('an export whose requests do not end is dropped with its server', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const [one, two] = [new TestVolume(), new TestVolume()];
  const open = await one.open(a, b);
  const other = await two.open(a, b);
  const before = b.engine.replicas.pid ?? 0;
  process.kill(before, 'SIGSTOP');
  await b.engine.replicas.unexport(open.layer.layer, 300);
  expect(b.engine.replicas.pid).not.toBe(before);
  expect(b.engine.replicas.exports()).toEqual([{ key: other.layer, writable: true }]);
  await (await a.engine.prepareHead(two.id)).serve(two.spec([], other, 's1'));
});

test('a consumer on another host reaches the head through proxy and gateway', async () => {
  const [a, c] = [await bench.node('a'), await bench.node('c')];
  const volume = new TestVolume();
  const open = await volume.open(a);
  const head = await (await a.engine.prepareHead(volume.id)).serve(volume.spec([], open, 's1'));
  await head.addSession('s2');
  const gateway = await a.engine.startGateway(volume.id, 's2', volume.sizeBytes);
  const { port, sizeBytes } = gateway;
  const where = {
    volume: volume.id,
    session: 's2',
    address: '127.0.0.1',
    headNode: 'a',
    boot: 'b',
  };
  const proxy = await c.engine.startProxy(
    volume.id,
    Promise.resolve({ ...where, port, sizeBytes }),
    () => undefined,
    AbortSignal.timeout(30_000),
  );
  const consumer = bench.consumer(c.engine.attachSocket(volume.id), 's2');
  await consumer.io('write -P 9 0 64k');
  await qemuIo(nbdUri(a.engine.attachSocket(volume.id), 's1'), 'read -P 9 0 64k');

  const exits: string[] = [];
  gateway.onExit(() => exits.push('gateway'));
  proxy.onExit(() => exits.push('proxy'));
  await head.kill();
  const second = await volume.open(a);
  const next = await a.engine.prepareHead(volume.id);
  await next.serve(volume.spec([open], second, 's1', 's2'));
  await consumer.io('read -P 9 0 64k'); // both waited for the next head
  await gateway.kill();
  await proxy.kill();
  expect(exits).toEqual([]);
});

test('a layer that is not local is read from a peer', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const first = await volume.open(b);
  const old = await (await b.engine.prepareHead(volume.id)).serve(volume.spec([], first, 's1'));
  await qemuIo(nbdUri(b.engine.attachSocket(volume.id), 's1'), 'write -P 4 8M 1M');
  expect(await old.stop(5000)).toBe(true);
  await b.engine.replicas.start();
  await b.engine.replicas.export(first.layer, false);
  const remote = { layer: first.layer, local: false, peers: [b.peer] };
  const open = await volume.open(a);
  const head = await (await a.engine.prepareHead(volume.id)).serve(
    volume.spec([remote], open, 's2'),
  );
  expect(head.state.sealed).toEqual([{ layer: first.layer.layer, from: 'b', fromBoot: 'b' }]);
  await qemuIo(nbdUri(a.engine.attachSocket(volume.id), 's2'), 'read -P 4 8M 1M');
});

test('a run directory whose sockets would have too long names is refused', async () => {
  const a = await bench.node('a');
  const runDirectory = `${a.options.runDirectory}/${'x'.repeat(60)}`;
  await expect(createEngine({ ...a.options, runDirectory })).rejects.toThrow(/too long/);
});

test('what the storage daemons said is in the log directory', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const spec = volume.spec([], { layer: volume.nextLayer(), local: true, peers: [] });
  await expect((await a.engine.prepareHead(volume.id)).serve(spec)).rejects.toThrow();
  const log = await readFile(`${a.options.logDirectory}/qemu-${volume.id}.log`, 'utf8');
  expect(log).toMatch(/No such file/);
});

test('a head over the longest chain that a record may have starts, and reads every layer', async () => {
  const node = await bench.node('a');
  const volume = new TestVolume();
  const sealed = [];
  for (let i = 0; i <= maxSealedLayers; i++) sealed.push(await volume.open(node));
  const open = await volume.open(node);
  // One layer after the other was written by a head of its own; here the oldest and the newest.
  for (const [i, layer] of [sealed[0], sealed.at(-1)].entries()) {
    if (layer === undefined) continue;
    const image = {
      driver: 'qcow2',
      file: { driver: 'file', filename: node.engine.layers.path(layer.layer) },
    };
    await qemuIo(`json:${JSON.stringify(image)}`, `write -P ${i + 1} ${i}M 64k`);
  }
  const head = await (await node.engine.prepareHead(volume.id)).serve(
    volume.spec(sealed, open, 's1'),
  );
  expect(head.state.sealed).toHaveLength(maxSealedLayers + 1);
  const uri = nbdUri(node.engine.attachSocket(volume.id), 's1');
  await qemuIo(uri, 'read -P 1 0 64k', 'read -P 2 1M 64k', 'read -P 0 2M 64k', 'write -P 3 3M 4k');
  expect(await head.stop(5000)).toBe(true);
});
