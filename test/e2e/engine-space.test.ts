/** What layers take on disks: after discards, zeros, merges and copies; and small files in a full pool. */
import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LayerKey } from '../../src/engine/engine.ts';
import { chunkBytes, createLayerContent } from '../../src/engine/layer-content.ts';
import { PoolLayerStore } from '../../src/engine/layer-store.ts';
import { pieceBytes } from '../../src/engine/reserve.ts';
import {
  chainOf,
  EngineBench,
  type EngineNode,
  mib,
  qemuIo,
  TestVolume,
} from './engine-fixture.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
/** Tables of a layer, and what a file system adds. */
const tables = mib;

let bench: EngineBench;
let node: EngineNode;
beforeEach(async () => {
  bench = await EngineBench.create();
  node = await bench.node('a');
});
afterEach(async () => {
  await bench.clean();
});

/** Discards do not reach the file, as below a write set of several. */
const chain = (keys: LayerKey[]): string => chainOf(node, keys, { discard: 'ignore' });

function allocated({ engine }: EngineNode, key: LayerKey): number {
  return statSync(engine.layers.path(key)).blocks * 512;
}

/** 64 KiB of data, 64 KiB of zeros that were written, and so on. */
function halfZeros(bytes: number): string[] {
  const step = 64 * 1024;
  return Array.from({ length: bytes / step }, (_, i) => `write -P ${i % 2} ${i * step} ${step}`);
}

test('what was discarded within a layer, and in newer ones, takes nothing when it is rewritten', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume(64 * mib);
  const [base, lower, upper, into] = Array.from({ length: 4 }, () => volume.nextLayer()) as [
    ...[LayerKey, LayerKey, LayerKey, LayerKey],
  ];
  for (const key of [base, lower, upper]) await layers.create(key, volume.sizeBytes);
  await qemuIo(chain([base]), 'write -P 9 0 64M');
  await qemuIo(chain([base, lower]), 'write -P 1 0 32M', 'discard 0 16M');
  expect(allocated(node, lower)).toBeGreaterThan(32 * mib);
  // One layer alone: its own discards.
  await layers.merge([lower], into, volume.sizeBytes, signal, { rewrite: true });
  await run('qemu-img', ['compare', chain([base, lower]), chain([base, into])]);
  await run('qemu-img', ['check', '-q', layers.path(into)]);
  expect(allocated(node, into)).toBeLessThan(16 * mib + tables);
  // With a newer one: what that one discarded below.
  await qemuIo(chain([base, lower, upper]), 'discard 16M 12M', 'write -P 2 0 1M');
  const both = volume.nextLayer();
  const seen: number[] = [];
  const progress = (done: number, total: number) => seen.push(done / total);
  await layers.merge([lower, upper], both, volume.sizeBytes, signal, { rewrite: true, progress });
  await run('qemu-img', ['compare', chain([base, lower, upper]), chain([base, both])]);
  expect(allocated(node, both)).toBeLessThan(5 * mib + tables);
  expect(seen.length).toBeGreaterThan(0);
});

test('zeros that were written take nothing in what is merged, rewritten or copied', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume(64 * mib);
  const [lower, upper] = [volume.nextLayer(), volume.nextLayer()];
  for (const key of [lower, upper]) await layers.create(key, volume.sizeBytes);
  await qemuIo(chain([lower]), ...halfZeros(8 * mib));
  await qemuIo(chain([lower, upper]), ...halfZeros(4 * mib), 'write -P 0 6M 2M');
  expect(allocated(node, lower)).toBeGreaterThan(8 * mib);
  for (const rewrite of [false, true]) {
    const into = volume.nextLayer();
    await layers.merge([lower, upper], into, volume.sizeBytes, signal, { rewrite });
    await run('qemu-img', ['compare', chain([lower, upper]), chain([into])]);
    expect(allocated(node, into)).toBeLessThan(3 * mib + tables);
  }
  const other = await bench.node('b');
  await other.engine.layers.createEmpty(lower, volume.sizeBytes);
  const [from, to] = [node, other].map(({ engine }) => createLayerContent(engine.layers)) as [
    ...[ReturnType<typeof createLayerContent>, ReturnType<typeof createLayerContent>],
  ];
  const wanted = await from.hash(lower, signal);
  const mending = await to.mend(lower);
  for (const [index, hash] of wanted.chunks.entries()) {
    if (hash === null) continue;
    await mending.write(index, await from.read(lower, index * chunkBytes, chunkBytes));
  }
  await mending.finish();
  expect((await to.hash(lower, signal)).root).toBe(wanted.root);
  expect(allocated(other, lower)).toBeLessThan(4 * mib + tables);
});

test('a mend writes zeros over what is there', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume(64 * mib);
  const key = volume.nextLayer();
  await layers.createEmpty(key, volume.sizeBytes);
  const file = await open(layers.path(key), 'r+');
  await file.write(Buffer.alloc(3 * 4096, 7), 0, 3 * 4096, 4096);
  await file.close();
  const content = createLayerContent(layers);
  const wanted = Buffer.alloc(chunkBytes);
  wanted.fill(5, 8192, 8192 + 4096);
  const mending = await content.mend(key);
  await mending.write(0, wanted);
  await mending.finish();
  expect((await content.read(key, 0, chunkBytes)).equals(wanted)).toBe(true);
  expect(allocated(node, key)).toBeLessThanOrEqual(3 * 4096);
});

test('fences and records are written in a pool that has no byte left, and replaced for ever', async () => {
  const pieces = 8;
  const small = await bench.node('small', 64 * mib);
  const { pool } = small.options;
  const options = { pool, burntDirectory: join(bench.directory, 'burnt') };
  const layers = new PoolLayerStore({ ...options, reserveBytes: pieces * pieceBytes });
  expect(await layers.reserve.fill(await layers.space())).toBe(pieces);
  const [known, ...others] = Array.from({ length: pieces + 5 }, () => new TestVolume().id) as [
    string,
    ...string[],
  ];
  await layers.keepRecord(known, 'a record');
  const fill = () => run('sh', ['-c', `cat /dev/zero >> ${join(pool, 'guest')} || true`]);
  await fill();
  expect((await layers.space()).freeBytes).toBe(0);
  // Whatever comes free is taken at once by a guest.
  for (let epoch = 1; epoch <= 3 * pieces; epoch += 1) {
    await layers.keepRecord(known, `record ${epoch} `.repeat(600));
    await layers.setFence(known, epoch);
    await fill();
  }
  expect(await layers.record(known)).toContain(`record ${3 * pieces} `);
  expect(await layers.fence(known)).toBe(3 * pieces);
  // Each new one takes a piece; then it is told, and nothing is half there.
  let made = 0;
  for (const volume of others) {
    const kept = await layers.setFence(volume, 7).then(
      () => true,
      (error: { code: string }) => {
        expect(error.code).toBe('no-space');
        return false;
      },
    );
    if (kept) made += 1;
    expect(await layers.fence(volume)).toBe(kept ? 7 : 0);
    await fill();
  }
  expect(made).toBeGreaterThanOrEqual(pieces - 2);
  expect(made).toBeLessThan(others.length);
  // And it is whole again when there is room.
  await run('rm', [join(pool, 'guest')]);
  expect(await layers.reserve.fill(await layers.space())).toBe(pieces);
  for (const volume of others) await layers.setFence(volume, 9);
});
