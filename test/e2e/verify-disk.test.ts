/** A copy is hashed as its disk returns it now, whatever memory still holds of the file. */
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabDisk } from '../../lab/disk.ts';
import type { LayerKey } from '../../src/engine/engine.ts';
import {
  createLayerContent,
  type LayerContent,
  unreadable,
} from '../../src/engine/layer-content.ts';
import { PoolLayerStore } from '../../src/engine/layer-store.ts';

const mib = 1 << 20;
const key: LayerKey = {
  volume: '11111111-2222-4333-8444-555555555555',
  layer: '0123456789abcdef0123456789abcdef',
  epoch: 1,
};
/** The chunks of the file that hold data. */
const written = [0, 1, 2, 3, 7];

let directory: string;
let disk: LabDisk;
let content: LayerContent;
let layers: PoolLayerStore;
const never = new AbortController().signal;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hs-verify-disk-'));
  const pool = join(directory, 'pool');
  const burntDirectory = join(directory, 'burnt');
  for (const path of [pool, burntDirectory]) await mkdir(path);
  const options = { directory: join(directory, 'disk'), mountPoint: pool, sizeBytes: 256 * mib };
  disk = await LabDisk.create(options);
  layers = new PoolLayerStore({ pool, burntDirectory });
  content = createLayerContent(layers);
  await layers.createEmpty(key, 16 * mib);
  const file = await open(layers.path(key), 'r+');
  for (const chunk of written) await file.write(Buffer.alloc(mib, chunk + 1), 0, mib, chunk * mib);
  await file.sync();
  await file.close();
});
afterAll(async () => {
  await disk?.destroy();
  await rm(directory, { recursive: true, force: true });
});

test('chunks that the disk does not return are named, though the page cache has them', async () => {
  const right = await content.hash(key, never);
  const nulls = right.chunks.flatMap((hash, index) => (hash === null ? [] : [index]));
  expect(nulls).toEqual(written);
  const cached = await readFile(layers.path(key));
  await disk.setFaults({ errors: ['read'] });
  // A buffered read does not notice.
  expect((await readFile(layers.path(key))).equals(cached)).toBe(true);
  const found = await content.hash(key, never);
  expect(found.root).not.toBe(right.root);
  expect(found.chunks.filter((hash) => hash !== null)).toEqual(written.map(() => unreadable));
  await expect(content.manifest(key, never)).rejects.toMatchObject({ code: 'damaged' });
  await disk.setFaults({ errors: [] });
  expect((await content.hash(key, never)).root).toBe(right.root);
});

test('an abort ends the reading of a slow disk between two chunks', async () => {
  await disk.setFaults({ delayMs: 300 });
  const stop = new AbortController();
  let last = 0;
  const reading = content.hash(key, stop.signal, (done) => {
    last = done;
    stop.abort(new Error('enough'));
  });
  await expect(reading).rejects.toThrow('enough');
  expect(last).toBe(mib);
  await disk.setFaults({});
});
