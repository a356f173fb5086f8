import { afterEach, beforeEach, expect, test } from 'vitest';
import { probeExport } from '../../src/engine/nbd-client.ts';
import { NbdPing, type PingStatus } from '../../src/engine/ping.ts';
import { EngineBench, type EngineNode, TestVolume } from './engine-fixture.ts';

let bench: EngineBench;
let node: EngineNode;
let ping: NbdPing | undefined;
let seen: PingStatus[];
beforeEach(async () => {
  bench = await EngineBench.create();
  node = await bench.node('a');
  seen = [];
});
afterEach(async () => {
  ping?.close();
  await bench.clean();
});

function watch(timeoutMs = 1000, graceMs = 600): void {
  const { address, replicaPort: port } = node.options;
  const onChange = (status: PingStatus) => seen.push(status);
  ping = new NbdPing({ address, port, graceMs, timeoutMs, onChange });
}

test('a server that runs is alive, and stays so when it is restarted at once', async () => {
  await node.engine.replicas.start();
  const graceMs = 3_000;
  watch(10_000, graceMs);
  await expect.poll(() => seen).toEqual([{ state: 'alive' }]);
  process.kill(node.engine.replicas.pid ?? 0, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, graceMs + 500));
  expect(seen).toEqual([{ state: 'alive' }]);
});

test('a server that ends and does not come back has failed after the grace', async () => {
  await node.engine.replicas.start();
  watch(10_000);
  await expect.poll(() => seen.length).toBe(1);
  const started = performance.now();
  await node.engine.replicas.kill();
  await expect.poll(() => seen.length, { timeout: 30_000, interval: 10 }).toBe(2);
  // After the grace, long before the time limit.
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(seen[1]).toMatchObject({ state: 'failed', reason: 'reset' });
  await node.engine.replicas.start();
  await expect.poll(() => seen.at(-1), { timeout: 30_000 }).toEqual({ state: 'alive' });
});

test('a frozen server has failed after the time limit, and is alive when it thaws', async () => {
  await node.engine.replicas.start();
  watch();
  await expect.poll(() => seen.length).toBe(1);
  const server = node.engine.replicas.pid ?? 0;
  process.kill(server, 'SIGSTOP');
  const started = performance.now();
  await expect.poll(() => seen.length, { timeout: 30_000, interval: 10 }).toBe(2);
  expect(performance.now() - started).toBeGreaterThan(700);
  expect(seen[1]).toMatchObject({ state: 'failed', reason: 'timeout' });
  process.kill(server, 'SIGCONT');
  await expect.poll(() => seen.at(-1), { timeout: 30_000 }).toEqual({ state: 'alive' });
});

test('nobody at the port is a refusal', async () => {
  watch();
  await expect
    .poll(() => seen, { timeout: 30_000 })
    .toEqual([{ state: 'failed', reason: 'refused', lastAnswer: null }]);
});

test('the time in which our own event loop stood still does not count', async () => {
  await node.engine.replicas.start();
  watch(1_500);
  await expect.poll(() => seen.length).toBe(1);
  const until = performance.now() + 3_000;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(seen).toEqual([{ state: 'alive' }]);
});

test('whether a server has an export can be asked', async () => {
  const volume = new TestVolume();
  const other = await bench.node('b');
  const open = await volume.open(other, node);
  const { address, replicaPort } = node.options;
  expect(await probeExport(address, replicaPort, open.layer.layer, 10_000)).toBe(true);
  expect(await probeExport(address, replicaPort, 'ping', 10_000)).toBe(true);
  // The layer that is written may be written to, the heartbeat's export may only be read.
  expect(await probeExport(address, replicaPort, open.layer.layer, 10_000, true)).toBe(true);
  expect(await probeExport(address, replicaPort, 'ping', 10_000, true)).toBe(false);
  expect(await probeExport(address, replicaPort, 'other', 10_000)).toBe(false);
  expect(await probeExport(address, other.options.replicaPort, 'ping', 10_000)).toBe(false);
  process.kill(node.engine.replicas.pid ?? 0, 'SIGSTOP');
  expect(await probeExport(address, replicaPort, 'ping', 300)).toBe(false);
});
