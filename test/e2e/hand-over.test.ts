/** A volume is attached on two hosts for a while, as live migration does, and moves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';
import { run } from './fixture-run.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });

const blocks = Array.from({ length: 50 }, (_, number) => block(number));

test('the head moves to the host that stays, under a consumer that notices only a pause', async () => {
  const volume = await cluster.createVolume('Silver');
  const first = await volume.attach('n1');
  const second = await volume.attach('n2');
  expect((await volume.show('n1')).head).toBe('n1');
  expect(cluster.node('n2').pids('proxy')).toHaveLength(1);
  const writer = cluster.qemuIo(first);
  for (const piece of blocks) await writer.write({ ...piece, offset: piece.offset + (32 << 20) });
  writer.kill();
  const consumer = await cluster.consumer(second, 'n2');
  const { write } = await cluster.underFio(consumer, async () => {
    await volume.detach('n1');
    expect((await volume.waitFor((state) => state.head === 'n2')).attachments).toMatchObject([
      { host: 'n2', session: second.session },
    ]);
  });
  expect(write.maxMs).toBeLessThan(10_000);
  expect(cluster.node('n1').pids('head')).toEqual([]);
  await expect.poll(() => cluster.node('n1').pids('gateway')).toEqual([]);
  await expect.poll(() => cluster.node('n2').pids('proxy')).toEqual([]);
  // What the first host wrote is there, and nothing was lost on the way.
  await expectPieces(
    consumer.uri,
    blocks.map((piece) => ({ ...piece, offset: piece.offset + (32 << 20) })),
  );
  await consumer.kill();
  await volume.expectIdenticalCopies();
  await volume.detach('n2');
  await volume.closed('n1');
});

test('both hosts see what the other wrote', async () => {
  const volume = await cluster.createVolume('Silver');
  const near = cluster.qemuIo(await volume.attach('n1'));
  const far = cluster.qemuIo(await volume.attach('n2'));
  for (const piece of blocks) await near.write(piece);
  for (const piece of blocks) await far.read(piece);
  for (const piece of blocks) await far.write({ ...piece, byte: 255 });
  for (const piece of blocks) await near.read({ ...piece, byte: 255 });
  // The one that goes is the one with the proxy: the head stays where it is.
  const { epoch } = await volume.show('n1');
  far.kill();
  await volume.detach('n2');
  for (const piece of blocks) await near.read({ ...piece, byte: 255 });
  expect(await volume.show('n1')).toMatchObject({ head: 'n1', epoch });
  near.kill();
  await volume.detach('n1');
});

test('attach and detach may be repeated', async () => {
  const volume = await cluster.createVolume('Bronze');
  const endpoint = await volume.attach('n1');
  expect(await volume.attach('n1')).toEqual(endpoint);
  // Also for a host with a proxy, and asked through another node.
  const path = `/v1/volumes/${volume.name}/attachments`;
  const ask = (via: string) => cluster.node(via).api.call('POST', path, { host: 'n2' });
  const proxied = await ask('n1');
  expect(await ask('n2')).toEqual(proxied);
  expect(await Promise.all([ask('n1'), ask('n2'), ask('n3')])).toEqual([proxied, proxied, proxied]);
  await volume.waitFor(({ attachments }) => attachments.length === 2, 60_000, 'n3');
  for (const via of ['n2', 'n2', 'n3']) await volume.detach('n2', via);
  for (const via of ['n1', 'n1', 'n3']) await volume.detach('n1', via);
  await volume.detach('n3');
  for (const via of ['n1', 'n2', 'n3']) await volume.closed(via);
});

test('a detached consumer cannot come back under its old name', async () => {
  const volume = await cluster.createVolume('Silver');
  const old = await volume.attach('n1');
  const io = cluster.qemuIo(old);
  await io.write(block(0));
  expect((await run(['nbdinfo', '--size', old.uri])).status).toBe(0);
  await volume.detach('n1');
  expect((await run(['nbdinfo', '--size', old.uri])).status).not.toBe(0);
  const fresh = await volume.attach('n1');
  expect(fresh.socket).toBe(old.socket);
  expect(fresh.session).not.toBe(old.session);
  expect((await run(['nbdinfo', '--size', fresh.uri])).status).toBe(0);
  const refused = await run(['nbdinfo', '--size', old.uri]);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toContain(old.session);
  // The old consumer lives on and tries to reconnect all the time; its write must never land.
  let landed = false;
  const stuck = io.write({ ...block(0), byte: 99 }).then(
    () => {
      landed = true;
    },
    () => undefined,
  );
  await sleep(2_000);
  expect(landed).toBe(false);
  await expectPieces(fresh.uri, [block(0)]);
  io.kill();
  await stuck;
  await volume.detach('n1');
});

test('a write that is stuck on a cut-off host never lands after the host was detached', async () => {
  const volume = await cluster.createVolume('Bronze');
  const first = await volume.attach('n1');
  const second = await volume.attach('n2');
  const near = cluster.qemuIo(first);
  const far = cluster.qemuIo(second);
  await far.write(block(0));
  await cluster.lab.network.cut('n2');
  let landed = false;
  const stuck = far.write({ ...block(0), byte: 99 }).then(
    () => {
      landed = true;
    },
    () => undefined,
  );
  try {
    const known = () => cluster.node('n1').api.call('GET', '/v1/nodes/n2');
    await expect.poll(known, { timeout: 60_000 }).toMatchObject({ up: false });
    await volume.detach('n2', 'n1');
    // Also where it would not need the network: the head does not know the session any more.
    const there = `nbd+unix:///${second.session}?socket=${first.socket}`;
    await expect.poll(async () => (await run(['nbdinfo', '--size', there])).status).not.toBe(0);
    await near.write({ ...block(0), byte: 2 });
  } finally {
    await cluster.lab.network.heal('n2');
  }
  await expect.poll(() => cluster.node('n2').pids('proxy'), { timeout: 60_000 }).toEqual([]);
  await near.read({ ...block(0), byte: 2 });
  expect(landed).toBe(false);
  await volume.waitFor(({ attachments }) => attachments.length === 1, 60_000, 'n2');
  // What it was revoked for is over: the host may attach again, and reads what is there now.
  const { uri, session } = await volume.attach('n2');
  expect(session).not.toBe(second.session);
  await expectPieces(uri, [{ ...block(0), byte: 2 }]);
  far.kill();
  await stuck;
  near.kill();
  for (const host of ['n2', 'n1']) await volume.detach(host);
});

test('a head that does not let go of a session is replaced: a detach never waits for ever', async () => {
  const volume = await cluster.createVolume('Silver');
  const near = cluster.qemuIo(await volume.attach('n1'));
  const { session } = await volume.attach('n2');
  await near.write(block(0));
  const heads = () => cluster.node('n1').pids('head');
  const hung = heads();
  // Hung as a QEMU is that drains a request which never ends: it answers nobody.
  cluster.node('n1').freeze({ only: 'head' });
  const path = `/v1/volumes/${volume.name}/attachments/n2`;
  const { status } = await cluster.node('n1').api.request('DELETE', path, undefined, 60_000);
  expect(status).toBe(204);
  await volume.waitFor((state) => state.attachments.every((a) => a.session !== session));
  await expect.poll(heads, { timeout: 60_000 }).not.toEqual(hung);
  await near.read(block(0));
  near.kill();
  await volume.detach('n1');
});
