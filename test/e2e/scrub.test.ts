/** The scrub: every node finds by itself what its disk returns wrongly, and it is mended. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fileOf, flip, type Layer, oldest, placeOf } from './damage.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces } from './fixture-io.ts';
import type { Endpoint, TestVolume } from './fixture-volume.ts';

/** Every copy is due a few seconds after it was read last. */
const seconds = 3;
const scrub = { bytesPerSecond: 64 * mib, intervalDays: seconds / 86_400 };
const cluster = sharedCluster({ nodes: ['n1', 'n2'], config: { scrub } });

const piece = { offset: 8 * mib, length: mib, byte: 5 };

type Made = { volume: TestVolume; endpoint: Endpoint; layer: Layer };

async function sealedVolume(policy: 'Silver' | 'Bronze'): Promise<Made> {
  const volume = await cluster.createVolume(policy);
  const endpoint = await volume.attach('n1');
  const io = cluster.qemuIo(endpoint);
  await io.write(piece);
  await volume.seal('n1');
  io.kill();
  const ready = await volume.waitFor(
    ({ report }) => report.state === 'healthy' && report.layers[0]?.bytes !== null,
  );
  return { volume, endpoint, layer: oldest(ready) };
}

async function damageSeen(node: string, volume: TestVolume) {
  return (await cluster.events(node, volume)).filter(({ type }) => type === 'layer.damaged');
}

test('a rotten copy is found by its own node, and mended from the other, under a consumer', async () => {
  const { volume, endpoint, layer } = await sealedVolume('Silver');
  const consumer = await cluster.consumer(endpoint);
  for (const node of ['n2', 'n1']) {
    const file = fileOf(cluster, volume, layer, node);
    const before = await readFile(file);
    await cluster.underFio(consumer, async () => {
      await flip(file, await placeOf(file, piece.byte));
      await expect
        .poll(async () => (await damageSeen(node, volume)).length, { timeout: 60_000 })
        .toBe(1);
      await expect
        .poll(async () => (await readFile(file)).equals(before), { timeout: 60_000 })
        .toBe(true);
    });
    const [event] = await damageSeen(node, volume);
    expect(event?.text).toContain('found by a scrub');
  }
  await expectPieces(endpoint.uri, [piece]);
  await consumer.kill();
  await volume.detach('n1');
});

test('the last copy is kept, and told of until it is right again', async () => {
  const { volume, layer } = await sealedVolume('Bronze');
  const [node = ''] = layer.copies.map((copy) => copy.node);
  const file = fileOf(cluster, volume, layer, node);
  const place = await placeOf(file, piece.byte);
  await flip(file, place);
  const told = await volume.waitFor(({ report }) => report.state === 'unavailable', 60_000);
  expect(told.report.findings[0]?.what).toContain(`${mib} bytes of its file are right on no node`);
  expect(existsSync(file)).toBe(true);
  // Still served: the rest is right.
  expect(told.report.head).toBe('n1');
  await flip(file, place);
  await volume.waitFor(({ report }) => report.state === 'healthy', 60_000);
});

test('notes that a crash broke are made anew', async () => {
  const memory = join(cluster.node('n1').poolDirectory, 'scrub-times.json');
  const known = JSON.parse(await readFile(memory, 'utf8')) as Record<string, string>;
  expect(Object.keys(known).length).toBeGreaterThan(0);
  await cluster.node('n1').stopDaemon();
  await writeFile(memory, '{"cut off');
  await cluster.node('n1').start();
  await expect
    .poll(async () => readFile(memory, 'utf8').then((text) => text.endsWith('}\n')), {
      timeout: 60_000,
    })
    .toBe(true);
});
