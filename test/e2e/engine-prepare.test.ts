/** The next head is loaded while the old one serves, and does nothing of its own before its time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LayerKey } from '../../src/engine/engine.ts';
import { createEngine } from '../../src/engine/index.ts';
import { isGone, type ProcessIdentity } from '../../src/engine/process.ts';
import { readRunRecords } from '../../src/engine/run-files.ts';
import { EngineBench, type EngineNode, nbdUri, qemuIo, TestVolume } from './engine-fixture.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await EngineBench.create();
});
afterEach(async () => {
  await bench.clean();
});

const heads = (node: EngineNode) => join(node.options.runDirectory, 'heads');

/** The process of the head that waits. */
function waiting(node: EngineNode): ProcessIdentity {
  const found = readRunRecords(heads(node)).filter((record) => record.waits);
  expect(found.length).toBe(1);
  return found[0]?.identity ?? { pid: 0, startTime: '' };
}

/** True when the process has the layer's file open. */
function hasOpen(node: EngineNode, { pid }: ProcessIdentity, key: LayerKey): boolean {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return links.includes(node.engine.layers.path(key));
}

test('what the old head wrote to its last moment is read by a head that was loaded before', async () => {
  const [a, b] = [await bench.node('a'), await bench.node('b')];
  const volume = new TestVolume();
  const oldest = await volume.open(a, b);
  const first = await a.engine.prepareHead(volume.id);
  await (await first.serve(volume.spec([], oldest, 's1'))).stop(5000);
  const closing = await volume.open(a, b);
  const second = await a.engine.prepareHead(volume.id);
  const old = await second.serve(volume.spec([oldest], closing, 's1'));
  const consumer = bench.consumer(a.engine.attachSocket(volume.id), 's1');
  await consumer.io('write -P 1 0 64k');

  const open = await volume.open(a, b);
  const spec = volume.spec([oldest, closing], open, 's1');
  const prepared = await a.engine.prepareHead(volume.id, 'new', spec);
  const process = waiting(a);
  expect(hasOpen(a, process, oldest.layer)).toBe(true);
  expect(hasOpen(a, process, closing.layer)).toBe(false);
  expect(hasOpen(a, process, open.layer)).toBe(false);
  await consumer.io('write -P 2 1M 1M'); // new tables, which a head that looked too early would not see
  // Comes to the new listener, and must not be told that there is no such export.
  const newcomer = qemuIo(nbdUri(a.engine.attachSocket(volume.id), 's1'), 'read -P 2 1M 1M');
  expect(await old.stop(5000)).toBe(true);

  const head = await prepared.serve(structuredClone(spec));
  expect(head.state.pid).toBe(process.pid);
  expect(readRunRecords(heads(a)).map((record) => record.waits)).toEqual([false]);
  await newcomer;
  await consumer.io('read -P 1 0 64k');
  await consumer.io('write -P 3 2M 64k');
  expect(await head.stop(5000)).toBe(true);
});

test('a head that is not what was expected is served by another process', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const open = await volume.open(a);
  const prepared = await a.engine.prepareHead(volume.id, 'new', volume.spec([], open, 's1'));
  const expected = waiting(a);
  const head = await prepared.serve(volume.spec([], open, 's1', 's2'));
  expect(head.state.pid).not.toBe(expected.pid);
  expect(isGone(expected)).toBe(true);
  await qemuIo(nbdUri(a.engine.attachSocket(volume.id), 's2'), 'write -P 3 0 4k');
});

test('a head that is given up, or dies before its time, leaves nothing behind', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const spec = volume.spec([], await volume.open(a), 's1');
  const prepared = await a.engine.prepareHead(volume.id, 'new', spec);
  const given = waiting(a);
  await prepared.abandon();
  expect(isGone(given)).toBe(true);
  expect(readdirSync(heads(a))).toEqual([]);

  const again = await a.engine.prepareHead(volume.id, 'new', spec);
  process.kill(waiting(a).pid, 'SIGKILL');
  await expect(again.serve(spec)).rejects.toThrow(/did not start/);
  expect(readdirSync(heads(a))).toEqual([]);
});

test('a head that waited for a daemon that died is ended by the next, and never serves', async () => {
  const a = await bench.node('a');
  const volume = new TestVolume();
  const spec = volume.spec([], await volume.open(a), 's1');
  const script = new URL('./engine-daemon.ts', import.meta.url).pathname;
  const { log: _, ...options } = a.options;
  const daemon = bench.child(
    spawn(process.execPath, [script, JSON.stringify({ options, spec, prepareOnly: true })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  await once(daemon.stdout ?? daemon, 'data');
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');
  const left = waiting(a);
  expect(isGone(left)).toBe(false);
  const engine = await createEngine(a.options);
  expect((await engine.adopt()).heads).toEqual([]);
  expect(isGone(left)).toBe(true);
  await engine.replicas.kill();
});
