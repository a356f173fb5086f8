/** What the API and `hscli` tell of space, and how a compact is asked for. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../src/cli/program.ts';
import { EventLog } from '../../src/node/events.ts';
import { SpaceWatch } from '../../src/node/space-watch.ts';
import type { NodeView } from '../../src/volume/types.ts';
import {
  FakeService,
  nodeDown,
  nodeUp,
  replica,
  sealed,
  startApi,
  unsealed,
  volumeRecord,
} from './api-fake-service.ts';

const mib = 2 ** 20;
let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;

beforeEach(async () => {
  service = new FakeService();
  const clean = (node: string) => replica(node, 'clean');
  const record = volumeRecord({
    epoch: 2,
    chain: [sealed(1, [clean('n1'), clean('n2')])],
    tail: { phase: 'open', reason: 'attach', layer: unsealed(2, ['n1', 'n2']) },
    snapshots: [{ id: 's', name: 's', layer: 'layer-1', sizeBytes: 2 ** 30, createdAt: '' }],
  });
  service.records.set(record.id, record);
  service.space.measures = [
    {
      ...{ node: 'n1', totalBytes: 100 * mib, freeBytes: 50 * mib, ownBytes: mib },
      ...{ reserveBytes: 2 * mib },
      files: [
        { volume: record.id, layer: 'layer-1', bytes: 6 * mib },
        { volume: record.id, layer: 'layer-2', bytes: mib },
      ],
    },
  ];
  api = await startApi(service);
});
afterEach(() => api.stop());

async function hscli(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const io = {
    stdout,
    stderr,
    stdin: new PassThrough(),
    env: {},
    signal: new AbortController().signal,
  };
  const status = await run([...args, '--socket', api.socket], io);
  for (const stream of [stdout, stderr]) stream.end();
  return { status, stdout: await text(stdout), stderr: await text(stderr) };
}

test('hscli space tells of nodes and volumes, and which of them were not measured', async () => {
  const { status, stdout } = await hscli('space', '--volumes');
  expect(status).toBe(0);
  expect(stdout).toContain('Layers:    12 MiB');
  expect(stdout).toMatch(/n1 +100 MiB +50 MiB +7 MiB +0 B +1 MiB +2 MiB +40 MiB +1 GiB +10.24x/);
  expect(stdout).toMatch(/n2 \(silent\)/);
  expect(stdout).toMatch(/db1 +1 GiB +12 MiB +0 B +0 B to 11 MiB/);
  const json = JSON.parse((await hscli('space', '--json')).stdout) as { volumes?: unknown };
  expect(json).toMatchObject({ layerBytes: 12 * mib, virtualBytes: 2 ** 30 });
  expect(json.volumes).toBeUndefined();
});

test('hscli volume show and node show tell it of one', async () => {
  const { stdout } = await hscli('volume', 'show', 'db1');
  expect(stdout).toContain('12 MiB held (7 MiB on n1, 5 MiB on n2); n2 could not be asked');
  expect(stdout).toMatch(/Held by snapshots: +0 B to 11 MiB/);
  const node = await hscli('node', 'show', 'n1');
  expect(node.stdout).toContain('7 MiB of layers (0 B to 6 MiB held by snapshots)');
  expect(node.stdout).toMatch(/Promised: +1 GiB, 10.24x of the pool/);
  const json = JSON.parse((await hscli('volume', 'show', 'db1', '--json')).stdout) as object;
  expect(json).toMatchObject({ name: 'db1', space: { heldBytes: 12 * mib } });
  expect((await hscli('volume', 'show', 'nosuch')).status).toBe(3);
});

test('a compact is asked for, seen, and given up', async () => {
  const begun = await hscli('volume', 'compact', 'db1', '--no-wait');
  expect(begun.stdout).toBe('Volume db1 is being compacted: hscli volume show db1\n');
  expect([...service.records.values()][0]?.compact).toEqual({ upTo: 1, done: [] });
  const { stdout } = await hscli('volume', 'compact', 'db1', '--cancel');
  expect(stdout).toBe('Volume db1 is not being compacted.\n');
  expect([...service.records.values()][0]?.compact).toBeUndefined();
  expect((await hscli('volume', 'compact', 'nosuch')).status).toBe(3);
});

test('pools that fill, and what there is no room for, are told once, and when it is over', () => {
  const at = (name: string, percent: number): NodeView => {
    const node = nodeUp(name);
    if (node.lease === null) throw new Error('it is up');
    return { ...node, lease: { ...node.lease, totalBytes: 1000, freeBytes: 1000 - percent * 10 } };
  };
  let nodes = [at('n1', 50), at('n2', 50), nodeDown('n3')];
  let changed: (change: { kind: string; name: string; node: NodeView | null }) => void = () =>
    undefined;
  const held = { ...sealed(1, [replica('n1', 'clean')]), bytes: 300 };
  const events = new EventLog('n1', () => '2026-01-01T00:00:00.000Z');
  const store = {
    nodes: () => nodes,
    node: (name: string) => nodes.find((n) => n.name === name),
    volumes: () => [{ value: volumeRecord({ chain: [held] }), revision: '1' }],
    onChange: (listener: typeof changed) => {
      changed = listener;
      return () => undefined;
    },
  };
  const limits = { warnPercent: 80, criticalPercent: 90 };
  const watch = new SpaceWatch({ store, events } as never, limits);
  watch.start();
  const told = (...percent: [number, number][]) => {
    const before = events.after(0).length;
    for (const [n1, n2] of percent) {
      nodes = [at('n1', n1), at('n2', n2), nodeDown('n3')];
      for (const node of nodes) changed({ kind: 'node', name: node.name, node });
    }
    return events
      .after(0)
      .slice(before)
      .map(({ type, values }) => `${type} ${String(values?.node)}`);
  };
  expect(told([50, 50], [79, 50])).toEqual([]);
  expect(told([81, 50], [79, 50], [81, 50])).toEqual(['pool.filling n1']);
  expect(told([92, 50])).toEqual(['pool.critical n1']);
  expect(watch.level('n1')).toBe('critical');
  expect(told([70, 50])).toEqual(['pool.relieved n1']);
  expect(told([50, 56], [50, 54.8])).toEqual(['pool.no-room-for-repair n1']);
  expect(told([50, 40])).toEqual(['pool.room-for-repair n1']);
});
