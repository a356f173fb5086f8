/** Chains stay short: sealed layers are merged behind the back of a consumer. */
import { beforeAll, expect, test } from 'vitest';
import type { Consumer } from '../../lab/consumer.ts';
import { mib, sharedCluster } from './fixture.ts';
import { expectPieces, type Piece } from './fixture-io.ts';
import type { Endpoint, TestVolume, VolumeState } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'] });

const maxLayers = 8;
/** A cluster of a layer: what of it is discarded as a whole reads as zeros (qcow2 version 3). */
const chunk = 128 * 1024;
/** Beyond what fio writes. */
const begin = 16 * mib;
const chunks = 96;

let volume: TestVolume;
let endpoint: Endpoint;
let consumer: Consumer;
/** What each chunk must hold. */
const model = new Uint8Array(chunks);

beforeAll(async () => {
  volume = await cluster.createVolume('Silver');
  endpoint = await volume.attach('n1');
  consumer = await cluster.consumer(endpoint);
});

function pieces(): Piece[] {
  return [...model].map((byte, index) => ({ offset: begin + index * chunk, length: chunk, byte }));
}

function sealed(state: VolumeState): VolumeState['report']['layers'] {
  return state.report.layers.filter((layer) => layer.state === 'sealed');
}

/** File names of the layers that a node holds by the record. */
function filesByRecord(state: VolumeState, node: string): string[] {
  const held = state.report.layers.filter((l) => l.copies.some((copy) => copy.node === node));
  return held.map(({ epoch, id }) => `${epoch}-${id}.qcow2`).sort();
}

test('a chain that is too long is merged under load; it shows the same, on identical copies', async () => {
  const io = cluster.qemuIo(endpoint);
  const fio = cluster.startFio(consumer, 12);
  const seen = new Set<string>();
  let longest = 0;
  for (let round = 1; round <= maxLayers + 4; round += 1) {
    for (let index = round % 3; index < chunks; index += 3) {
      const offset = begin + index * chunk;
      // Every round also takes back some of what the rounds before it wrote.
      if (index % 7 === round % 7) {
        await io.command(`discard ${offset} ${chunk}`);
        model[index] = 0;
      } else {
        await io.write({ offset, length: chunk, byte: round });
        model[index] = round;
      }
    }
    await volume.seal('n1');
    const layers = sealed(await volume.show('n1'));
    for (const { epoch, id } of layers) seen.add(`${epoch}-${id}.qcow2`);
    longest = Math.max(longest, layers.length);
  }
  expect(longest).toBeGreaterThan(maxLayers);
  const { write } = await fio.wait();
  expect(write.maxMs).toBeLessThan(10_000);
  const short = await volume.waitFor((state) => sealed(state).length <= maxLayers, 60_000);
  expect(sealed(short).length).toBeGreaterThan(0);
  const merged = (await cluster.events('n1', volume)).filter((e) => /are merged/.test(e.text));
  expect(merged.length).toBeGreaterThan(0);
  await expectPieces(consumer.uri, pieces());
  await volume.expectIdenticalCopies();
  // The head lets go of the merged layers by itself, and then every node deletes their files.
  const gone = [...seen].filter(
    (file) => !sealed(short).some(({ epoch, id }) => file === `${epoch}-${id}.qcow2`),
  );
  expect(gone.length).toBeGreaterThan(4);
  for (const node of ['n1', 'n2', 'n3']) {
    const differing = async () => {
      const wanted = filesByRecord(await volume.show('n1'), node);
      const there = volume.files(node);
      return [...wanted, ...there].filter((f) => !wanted.includes(f) || !there.includes(f));
    };
    await expect.poll(differing, { timeout: 60_000 }).toEqual([]);
    expect(volume.files(node).filter((file) => gone.includes(file))).toEqual([]);
  }
  io.kill();
});

// Fails when any node between the consumer and the layer is without `discard: unmap`.
test('a discard is obeyed: near the head and through a proxy, its space reads as zeros', async () => {
  const other = await cluster.createVolume('Silver');
  for (const host of ['n1', 'n2']) {
    const io = cluster.qemuIo(await other.attach(host));
    const piece = { offset: 4 * mib, length: 4 * mib, byte: 7 };
    await io.write(piece);
    await io.command(`discard ${piece.offset} ${piece.length}`);
    await io.read({ ...piece, byte: 0 });
    io.kill();
  }
  for (const host of ['n2', 'n1']) await other.detach(host);
});

test('what was merged is the same for the next head, which reads it from both copies', async () => {
  await consumer.kill();
  await volume.detach('n1');
  for (const host of ['n2', 'n3', 'n1']) {
    const { uri } = await volume.attach(host);
    await expectPieces(uri, pieces());
    await volume.detach(host);
  }
});
