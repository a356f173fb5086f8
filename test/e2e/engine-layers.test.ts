import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LayerKey } from '../../src/engine/engine.ts';
import { containerBytes } from '../../src/engine/layer-files.ts';
import { PoolLayerStore } from '../../src/engine/layer-store.ts';
import {
  chainOf,
  EngineBench,
  type EngineNode,
  mib,
  qemuIo,
  TestVolume,
} from './engine-fixture.ts';

const run = promisify(execFile);
const kib = 1024;

let bench: EngineBench;
let node: EngineNode;
beforeEach(async () => {
  bench = await EngineBench.create();
  node = await bench.node('a');
});
afterEach(async () => {
  await bench.clean();
});

const chain = (keys: LayerKey[]): string => chainOf(node, keys);

/** The hash of the part of a container that is not a hole at its end. */
async function contentHash(path: string): Promise<string> {
  const used = (await readFile(path)).subarray(0, 32 * mib);
  return createHash('sha1').update(used).digest('hex');
}

/** Numbers from 0 to below 1, always the same for a seed (Mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Writes, zeros and discards at random places, aligned and not. */
function randomCommands(random: () => number, sizeBytes: number, pattern: number): string[] {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  return Array.from({ length: 60 }, () => {
    const length = pick([512, 4 * kib, 12 * kib, 64 * kib, 128 * kib, 256 * kib]);
    const offset = Math.floor((random() * (sizeBytes - length)) / 512) * 512;
    const verb = pick([`write -P ${pattern}`, `write -P ${pattern}`, 'write -P 0', 'write -z']);
    return random() < 0.3 ? `discard ${offset} ${length}` : `${verb} ${offset} ${length}`;
  });
}

test('a merge shows through a chain exactly what its layers showed', async () => {
  const sizes = [8, 8, 8, 9, 12].map((size) => size * mib);
  for (const seed of [1, 2, 3]) {
    const random = randomFrom(seed);
    const volume = new TestVolume();
    const layers: LayerKey[] = [];
    for (const [index, size] of sizes.entries()) {
      const key = volume.nextLayer();
      await node.engine.layers.create(key, size);
      layers.push(key);
      const commands = index === 0 ? ['write -P 99 0 8M'] : randomCommands(random, size, index + 1);
      await qemuIo(chain(layers), ...commands);
    }
    const [base, ...upper] = layers as [LayerKey, ...LayerKey[]];
    const files = upper.map((key) => node.engine.layers.path(key));
    const before = await Promise.all(files.map(contentHash));
    const times = files.map((file) => statSync(file).mtimeMs);
    const into = volume.nextLayer();
    const signal = new AbortController().signal;
    const rewrite = seed > 1;
    await node.engine.layers.merge(upper, into, 12 * mib, signal, { rewrite });
    await run('qemu-img', ['compare', chain(layers), chain([base, into])]);
    expect(await Promise.all(files.map(contentHash))).toEqual(before);
    expect(files.map((file) => statSync(file).mtimeMs)).toEqual(times);
    expect((await stat(node.engine.layers.path(into))).size).toBe(containerBytes(12 * mib));
    await run('qemu-img', ['check', '-q', node.engine.layers.path(into)]);
  }
});

test('a cancelled merge leaves nothing', async () => {
  const volume = new TestVolume(512 * mib);
  const layers = [volume.nextLayer(), volume.nextLayer()];
  for (const key of layers) {
    await node.engine.layers.create(key, volume.sizeBytes);
    await qemuIo(chain([key]), 'write -P 5 0 256M');
  }
  const into = volume.nextLayer();
  const abort = new AbortController();
  const merge = node.engine.layers.merge(layers, into, volume.sizeBytes, abort.signal);
  setTimeout(() => abort.abort(), 100);
  await expect(merge).rejects.toMatchObject({ code: 'cancelled' });
  expect(await node.engine.layers.exists(into)).toBe(false);
  expect(readdirSync(join(node.options.pool, 'spares'))).toEqual([]);
});

test('a layer is made from a spare of its size, and only once', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume();
  await layers.keepSpares([volume.sizeBytes, 2 * volume.sizeBytes]);
  const spares = join(node.options.pool, 'spares');
  expect(readdirSync(spares).length).toBe(2);
  const key = volume.nextLayer();
  await layers.create(key, volume.sizeBytes);
  expect(readdirSync(spares).length).toBe(1);
  const { ino, size } = await stat(layers.path(key));
  expect(size).toBe(containerBytes(volume.sizeBytes));
  await layers.create(key, volume.sizeBytes);
  expect((await stat(layers.path(key))).ino).toBe(ino);
  await layers.keepSpares([]);
  expect(readdirSync(spares)).toEqual([]);
});

test('layers are listed oldest first, and a volume without any is forgotten', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume();
  const keys = Array.from({ length: 11 }, () => volume.nextLayer());
  for (const key of keys.toReversed()) await layers.createEmpty(key, mib);
  expect(await layers.list(volume.id)).toEqual(keys);
  expect(await layers.volumes()).toEqual([volume.id]);
  for (const key of keys) await layers.remove(key);
  for (const key of keys) await layers.remove(key);
  expect(await layers.volumes()).toEqual([]);
});

test('the extents of a file are the parts that hold data', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume();
  const key = volume.nextLayer();
  await layers.createEmpty(key, 8 * mib);
  expect(await layers.extents(key)).toEqual([]);
  const raw = `json:${JSON.stringify({
    driver: 'raw',
    file: { driver: 'file', filename: layers.path(key) },
  })}`;
  await qemuIo(raw, 'write -P 1 1M 64k', 'write -P 1 5M 128k');
  await layers.sync(key);
  expect(await layers.extents(key)).toEqual([
    { offset: mib, length: 64 * kib },
    { offset: 5 * mib, length: 128 * kib },
  ]);
});

test('a fence never goes down, and outlives the daemon', async () => {
  const { layers } = node.engine;
  const volume = new TestVolume();
  expect(await layers.fence(volume.id)).toBe(0);
  await Promise.all([layers.setFence(volume.id, 7), layers.setFence(volume.id, 5)]);
  const burntDirectory = join(node.options.runDirectory, 'burnt');
  const again = new PoolLayerStore({ pool: node.options.pool, burntDirectory });
  expect(await again.fence(volume.id)).toBe(7);
  await again.removeFence(volume.id);
  expect(await again.fence(volume.id)).toBe(0);
});

test('a layer is burnt once', async () => {
  const { layers } = node.engine;
  const key = new TestVolume().nextLayer();
  expect(await layers.isBurnt(key)).toBe(false);
  const both = await Promise.all([layers.burn(key), layers.burn(key)]);
  expect(both.toSorted()).toEqual([false, true]);
  expect(await layers.isBurnt(key)).toBe(true);
});

test('what was not finished is removed at the next start; a missing pool is not made', async () => {
  const { pool, runDirectory } = node.options;
  const rest = join(pool, 'spares', 'abc.tmp');
  await writeFile(rest, 'x');
  await truncate(rest, mib);
  const burntDirectory = join(runDirectory, 'burnt');
  new PoolLayerStore({ pool, burntDirectory });
  expect(readdirSync(join(pool, 'spares'))).toEqual([]);
  expect(() => new PoolLayerStore({ pool: `${pool}-gone`, burntDirectory })).toThrow(/ENOENT/);
});

test('a full pool is told as such', async () => {
  const small = await bench.node('small', 4 * mib);
  const filler = join(small.options.pool, 'filler');
  const { freeBytes } = await small.engine.layers.space();
  await writeFile(filler, Buffer.alloc(freeBytes, 1));
  const volume = new TestVolume();
  await expect(
    small.engine.layers.create(volume.nextLayer(), volume.sizeBytes),
  ).rejects.toMatchObject({ code: 'no-space' });
});

test('names that are not ids never become paths', async () => {
  const { layers } = node.engine;
  const key = new TestVolume().nextLayer();
  for (const bad of [{ volume: '../x' }, { layer: '..' }, { epoch: -1 }, { epoch: 1.5 }]) {
    await expect(layers.exists({ ...key, ...bad })).rejects.toMatchObject({ code: 'bad-input' });
  }
  await expect(layers.fence('../../etc/passwd')).rejects.toMatchObject({ code: 'bad-input' });
});
