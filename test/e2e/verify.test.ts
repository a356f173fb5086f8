/** Is the data intact? What changed behind the daemons' backs is found, exactly, and mended. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { VerificationAnswer } from '../../src/api/schemas.ts';
import { chunkAt, cutShort, fileOf, flip, type Layer, oldest, placeOf } from './damage.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces, type Piece } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import type { Endpoint, TestVolume } from './fixture-volume.ts';

/** A node that is down is soon replaced. */
const cluster = sharedCluster({
  nodes: ['n1', 'n2', 'n3'],
  config: { repairDelaySeconds: 1 },
});

/** Pieces beyond what fio writes, far apart: each in a chunk of its own. */
const pieces: Piece[] = [1, 2, 3].map((n) => ({ offset: (8 + 8 * n) * mib, length: mib, byte: n }));

type Made = { volume: TestVolume; endpoint: Endpoint; layer: Layer; holders: string[] };

/** A volume that n1 serves, with the pieces in a sealed layer that n1 and another node hold. */
async function sealedVolume(policy: 'Silver' | 'Gold' = 'Silver'): Promise<Made> {
  const volume = await cluster.createVolume(policy);
  const endpoint = await volume.attach('n1');
  const io = cluster.qemuIo(endpoint);
  for (const piece of pieces) await io.write(piece);
  await volume.seal('n1');
  io.kill();
  const layer = oldest(await volume.mended('n1'));
  return { volume, endpoint, layer, holders: layer.copies.map((copy) => copy.node) };
}

async function verify(via: string, ...args: string[]) {
  const { status, stdout, stderr } = await hscli(
    cluster.node(via),
    'volume',
    'verify',
    ...args,
    '--json',
  );
  return { status, stderr, answer: JSON.parse(stdout || 'null') as VerificationAnswer };
}

/** Copies that are not equal, as NODE:RESULT. */
function bad(answer: VerificationAnswer): string[] {
  return answer.layers.flatMap((layer) =>
    layer.copies
      .filter(({ result }) => result !== 'equal' && result !== 'open')
      .map(({ node, result }) => `${layer.number}:${node}:${result}`),
  );
}

function other(holders: string[]): string {
  const [node] = holders.filter((name) => name !== 'n1');
  if (node === undefined) throw new Error('n1 holds the only copy');
  return node;
}

test('copies that are equal are said to be, the open layer is named as not compared', async () => {
  const { volume } = await sealedVolume();
  const { status, answer } = await verify('n3', volume.name);
  expect(status).toBe(0);
  expect(answer.result).toBe('equal');
  const layers = answer.layers.map((l) => [l.state, l.against, ...l.copies.map((c) => c.result)]);
  expect(layers.pop()).toEqual(['open', 'nothing', 'open', 'open']);
  expect(layers.length).toBeGreaterThan(0);
  for (const layer of layers) expect(layer).toEqual(['sealed', 'record', 'equal', 'equal']);
  const text = (await hscli(cluster.node('n3'), 'volume', 'verify', volume.name)).stdout;
  expect(text).toContain('open: not compared');
  const sealed = await verify('n3', volume.name, '--seal');
  expect(sealed.status).toBe(0);
  const states = sealed.answer.layers.map((l) => l.state);
  expect(states.slice(-3)).toEqual(['sealed', 'sealed', 'open']);
});

test('exactly the damaged chunk of a reflection is found, and mended under a consumer', async () => {
  const { volume, endpoint, layer, holders } = await sealedVolume();
  const node = other(holders);
  const file = fileOf(cluster, volume, layer, node);
  const place = await placeOf(file, 2);
  // Now the node keeps the hashes of its copy, which must not be believed.
  expect((await verify('n1', volume.name)).status).toBe(0);
  await flip(file, place);
  const found = await verify('n1', volume.name);
  expect(found.status).toBe(9);
  expect(bad(found.answer)).toEqual([`1:${node}:differs`]);
  expect(found.answer.layers[0]?.copies.find((c) => c.node === node)?.damaged).toEqual([
    chunkAt(place),
  ]);
  expect(JSON.parse(found.stderr)).toMatchObject({ error: { code: 'damaged', exit: 9 } });
  expect(found.answer.findings[0]?.action).toContain('--repair');
  // Without --repair nothing is changed.
  expect((await volume.show('n1')).report.state).toBe('healthy');

  const consumer = await cluster.consumer(endpoint);
  const io = cluster.qemuIo(endpoint);
  let mended: Awaited<ReturnType<typeof verify>> | undefined;
  await cluster.underFio(consumer, async () => {
    mended = await verify('n1', volume.name, '--repair');
    for (const piece of pieces) await io.read(piece);
  });
  expect(mended?.status).toBe(0);
  expect(bad(mended?.answer ?? found.answer)).toEqual([]);
  expect(mended?.answer.layers[0]?.copies.find((c) => c.node === node)?.repaired).toBe(true);
  await expectPieces(endpoint.uri, pieces);
  await volume.expectIdenticalCopies();
  const events = await cluster.events('n1', volume);
  expect(events.filter((e) => e.type === 'layer.damaged').map((e) => e.values?.node)).toEqual([
    node,
  ]);
  io.kill();
  await consumer.kill();
});

test('the copy that the head itself reads is left by the head, and then mended', async () => {
  const { volume, endpoint, layer } = await sealedVolume();
  const file = fileOf(cluster, volume, layer, 'n1');
  await flip(file, await placeOf(file, 1));
  const consumer = await cluster.consumer(endpoint);
  await cluster.underFio(consumer, async () => {
    const { status, answer } = await verify('n2', volume.name, '--repair');
    expect([status, bad(answer)]).toEqual([0, []]);
  });
  await expectPieces(endpoint.uri, pieces);
  await volume.expectIdenticalCopies();
  await consumer.kill();
});

test('copies that are damaged in different chunks are mended from each other', async () => {
  const { volume, endpoint, layer, holders } = await sealedVolume();
  for (const [index, node] of holders.entries()) {
    const file = fileOf(cluster, volume, layer, node);
    await flip(file, await placeOf(file, index + 1));
  }
  const found = await verify('n1', volume.name);
  expect([found.status, bad(found.answer).length]).toEqual([9, 2]);
  const mended = await verify('n1', volume.name, '--repair');
  expect([mended.status, bad(mended.answer)]).toEqual([0, []]);
  await expectPieces(endpoint.uri, pieces);
  await volume.expectIdenticalCopies();
});

test('what is right nowhere is told, with its place; nothing is deleted, the rest is kept', async () => {
  const { volume, layer, holders } = await sealedVolume();
  const files = holders.map((node) => fileOf(cluster, volume, layer, node));
  const place = await placeOf(files[0] ?? '', 3);
  for (const file of files) await flip(file, place);
  const { status, answer } = await verify('n1', volume.name, '--repair');
  expect(status).toBe(9);
  expect(bad(answer).length).toBe(2);
  const { offset } = chunkAt(place);
  expect(answer.findings.map((f) => f.what).join('\n')).toContain(`no node has ${mib} bytes`);
  expect(answer.findings.map((f) => f.what).join('\n')).toContain(`${offset}–`);
  const { report } = await volume.waitFor((v) => v.report.state === 'unavailable', 60_000, 'n1');
  expect(report.findings.map((f) => f.what).join('\n')).toContain('damaged');
  expect(files.every((file) => existsSync(file))).toBe(true);
  // A disk that was only read wrong: the next verification takes the finding back.
  for (const file of files) await flip(file, place);
  const again = await verify('n1', volume.name, '--repair');
  expect([again.status, bad(again.answer)]).toEqual([0, []]);
  await volume.mended('n1');
});

test('a file that is gone and one that was cut are made anew', async () => {
  const { volume, endpoint, layer, holders } = await sealedVolume();
  const node = other(holders);
  await rm(fileOf(cluster, volume, layer, node));
  const missing = await verify('n1', volume.name);
  expect([missing.status, bad(missing.answer)]).toEqual([9, [`1:${node}:missing`]]);
  expect((await verify('n1', volume.name, '--repair')).status).toBe(0);
  await cutShort(fileOf(cluster, volume, layer, node));
  const cut = await verify('n1', volume.name);
  expect([cut.status, bad(cut.answer)]).toEqual([9, [`1:${node}:differs`]]);
  expect((await verify('n1', volume.name, '--repair')).status).toBe(0);
  await expectPieces(endpoint.uri, pieces);
  await volume.expectIdenticalCopies();
});

test('a node that is down is told as not checked', async () => {
  // Every node has a copy, so that none is made anew in place of this one.
  const { volume, holders } = await sealedVolume('Gold');
  const node = other(holders);
  await cluster.node(node).stopDaemon();
  await volume.waitFor(
    ({ report }) => report.layers[0]?.copies.find((c) => c.node === node)?.up === false,
    60_000,
    'n1',
  );
  const { status, answer, stderr } = await verify('n1', volume.name);
  expect([status, answer.result]).toEqual([6, 'incomplete']);
  expect(bad(answer)).toContain(`1:${node}:node-down`);
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'unavailable' } });
  await cluster.node(node).start();
  await volume.mended('n1');
});

test('a new copy finds that its source is damaged, and waits for the node that has it right', async () => {
  const { volume, endpoint, layer, holders } = await sealedVolume();
  const away = other(holders);
  const file = fileOf(cluster, volume, layer, 'n1');
  await flip(file, await placeOf(file, 2));
  // Nobody looks for damage now: the third node takes over a copy, from n1 alone.
  await cluster.node(away).powerCut();
  const told = await volume.waitFor(
    ({ report }) => report.findings.some((f) => /last clean copy of layer 1/.test(f.what)),
    60_000,
    'n1',
  );
  const [finding] = told.report.findings.filter((f) => /last clean copy/.test(f.what));
  expect(finding?.action).toContain(`Bring ${away} back`);
  expect(finding?.severity).toBe('at-risk');
  await cluster.node(away).boot();
  await volume.mended('n1');
  expect((await verify('n1', volume.name)).status).toBe(0);
  await expectPieces(endpoint.uri, pieces);
  await volume.expectIdenticalCopies();
});

test('a merge does not take damage over: it waits until its layers are mended', async () => {
  const { volume, endpoint } = await sealedVolume();
  const io = cluster.qemuIo(endpoint);
  const last: Piece[] = [];
  const writeAndSeal = async (rounds: number) => {
    for (let round = 1; round <= rounds; round += 1) {
      const piece = { offset: (last.length + 1) * mib, length: 4096, byte: 101 + last.length };
      last.push(piece);
      await io.write(piece);
      await volume.seal('n1');
    }
  };
  await writeAndSeal(6);
  // In the middle of the chain, so that it is in whatever run is merged.
  const layer = (await volume.mended('n1')).report.layers[4];
  if (layer === undefined) throw new Error('the chain is too short');
  const file = fileOf(cluster, volume, layer, 'n1');
  await flip(file, await placeOf(file, 104));
  await writeAndSeal(3);
  const found = async () => {
    const events = await cluster.events('n1', volume);
    return events.find((e) => e.type === 'layer.damaged')?.text;
  };
  await expect.poll(found, { timeout: 60_000 }).toContain('found by a merge');
  // Of the layers that there are then, others may be merged instead.
  await volume.waitFor(
    ({ policy, report }) =>
      report.layers.length <= policy.maxLayers + 1 && report.work.length === 0,
    60_000,
    'n1',
  );
  await expectPieces(endpoint.uri, [...pieces, ...last]);
  await volume.expectIdenticalCopies();
  io.kill();
});
