import { expect, test } from 'vitest';
import type { HeadSpec, LayerKey } from './engine.ts';
import { headArguments, tableCacheBytes } from './head-graph.ts';

const access = { aio: 'io_uring', direct: true } as const;
const volume = '00000000-0000-4000-8000-000000000000';
const key = (epoch: number): LayerKey => ({ volume, layer: `${epoch}`.padStart(32, '0'), epoch });
const peer = (node: string) => ({ node, boot: 'b', address: '10.0.0.2', port: 7481 });

const limits = {
  maxIops: 1000,
  maxBandwidth: null,
  burstIops: null,
  burstBandwidth: null,
  burstSeconds: null,
};

function commandLine(spec: Partial<HeadSpec>): string[] {
  const whole: HeadSpec = {
    volume,
    sizeBytes: 1 << 30,
    limits,
    sealed: [],
    open: { layer: key(3), local: true, peers: [] },
    sessions: ['s1', 's2'],
    ...spec,
  };
  return headArguments(whole, access, (k) => `/pool/${k.epoch}`, '/run/events');
}

type Argument = { option: string; value: Record<string, unknown> };

const argumentsOf = (spec: Partial<HeadSpec>) => parsed(commandLine(spec));

function parsed(argv: string[]): Argument[] {
  return argv.flatMap((value, index) => {
    if (!value.startsWith('{')) return [];
    return [{ option: argv[index - 1] ?? '', value: JSON.parse(value) as Record<string, unknown> }];
  });
}

const nodes = (spec: Partial<HeadSpec>) =>
  argumentsOf(spec)
    .filter((a) => a.option === '--blockdev')
    .map((a) => a.value);

test('every session is exported writable and writethrough', () => {
  const exports = argumentsOf({}).filter((a) => a.option === '--export');
  expect(exports.map((e) => e.value)).toEqual(
    ['s1', 's2'].map((name) =>
      expect.objectContaining({ name, 'node-name': 'top', writable: true, writethrough: true }),
    ),
  );
});

test('sealed layers are read-only, oldest at the bottom, each from one place', () => {
  const graph = nodes({
    sealed: [
      { layer: key(1), local: false, peers: [peer('b')] },
      { layer: key(2), local: true, peers: [] },
    ],
  });
  expect(graph).toMatchObject([
    { 'node-name': 'q0', backing: null, 'read-only': true, file: { driver: 'nbd' } },
    { 'node-name': 'q1', backing: 'q0', 'read-only': true, file: { filename: '/pool/2' } },
    { 'node-name': 'open', backing: 'q1', file: { filename: '/pool/3' } },
    { 'node-name': 'top', driver: 'throttle', file: 'open' },
  ]);
});

test('a write of the open layer needs all of its members', () => {
  const open = { layer: key(3), local: true, peers: [peer('b'), peer('c')] };
  expect(nodes({ open })).toMatchObject([
    { driver: 'nbd', 'node-name': 'm1', export: key(3).layer, discard: 'unmap' },
    { driver: 'nbd', 'node-name': 'm2', export: key(3).layer, discard: 'unmap' },
    {
      'node-name': 'open',
      file: {
        driver: 'quorum',
        'vote-threshold': 3,
        children: [{ driver: 'file', 'node-name': 'm0' }, 'm1', 'm2'],
      },
    },
    { 'node-name': 'top' },
  ]);
});

test('neither the newest sealed layer nor the open one is opened before its time', () => {
  const sealed = [1, 2, 3].map((epoch) => ({ layer: key(epoch), local: true, peers: [] }));
  const open = { layer: key(4), local: true, peers: [peer('b')] };
  const argv = commandLine({ sealed, open });
  const wait = argv.findIndex((argument) => argument.endsWith(',wait=on'));
  const names = (part: string[]) =>
    parsed(part).flatMap(({ option, value }) =>
      option === '--blockdev' ? [value['node-name']] : [],
    );
  expect(names(argv.slice(0, wait))).toEqual(['q0', 'q1', 'm1']);
  expect(names(argv.slice(wait))).toEqual(['q2', 'open', 'top']);
  expect(argv.indexOf('--nbd-server')).toBeGreaterThan(wait);
});

test('a sealed layer in two places, or in none, is refused', () => {
  for (const place of [
    { local: true, peers: [peer('b')] },
    { local: false, peers: [] },
    { local: false, peers: [peer('b'), peer('c')] },
  ]) {
    expect(() => nodes({ sealed: [{ layer: key(1), ...place }] })).toThrow(/one place/);
  }
});

test('the table cache covers the volume up to 128 GiB', () => {
  expect(tableCacheBytes(1 << 30)).toBe(256 << 10);
  expect(tableCacheBytes(64 * 2 ** 30)).toBe(8 << 20);
  expect(tableCacheBytes(2 ** 40)).toBe(16 << 20);
});
