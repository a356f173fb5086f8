/** The guest's node is gone: what it was told is stable is there on another one, and only there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { commandLine, signal } from '../../lab/processes.ts';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces, type Piece, type QemuIo } from './fixture-io.ts';
import { reflections, type TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdHost: 'meta' });

/** More blocks than any test gets to write. */
const blocks = Array.from({ length: 500 }, (_, number) => block(number));

/** Writes block after block, unflushed; `acknowledged` grows as the answers come. */
function keepWriting(io: QemuIo): { acknowledged: Piece[]; over: Promise<void> } {
  const acknowledged: Piece[] = [];
  const over = (async () => {
    for (const piece of blocks) {
      await io.write(piece);
      acknowledged.push(piece);
    }
  })();
  // It ends with the consumer, in the middle of a write.
  over.catch(() => undefined);
  return { acknowledged, over };
}

async function whenWritten(acknowledged: readonly Piece[], count: number): Promise<void> {
  await expect.poll(() => acknowledged.length, { timeout: 60_000 }).toBeGreaterThan(count);
}

/** The one write that a cut caught may be on its way back: resolves when no more answers come. */
async function untilSilent(acknowledged: readonly Piece[]): Promise<void> {
  for (let before = -1; before !== acknowledged.length; ) {
    before = acknowledged.length;
    await sleep(400);
  }
}

/** A volume that is attached on n1 and written to; its consumer does not die with the node. */
async function writtenVolume(): Promise<{
  volume: TestVolume;
  reflection: string;
  /** The node without a part in the volume. */
  other: string;
  io: QemuIo;
  acknowledged: Piece[];
}> {
  const volume = await cluster.createVolume('Silver', { via: 'n3' });
  const io = cluster.qemuIo(await volume.attach('n1'));
  const [reflection = ''] = reflections(await volume.withMembers(2, 'n1'));
  const other = ['n2', 'n3'].find((name) => name !== reflection) ?? '';
  const { acknowledged } = keepWriting(io);
  await whenWritten(acknowledged, 60);
  return { volume, reflection, other, io, acknowledged };
}

/** The node is back: nothing of its earlier life serves, and the volume is whole again. */
async function expectReturned(volume: TestVolume, node: string, via: string): Promise<void> {
  const state = await volume.mended(via);
  expect(state.head).toBe(via);
  expect(state.attachments.map((attachment) => attachment.host)).not.toContain(node);
  await expect.poll(() => cluster.node(node).pids('head'), { timeout: 60_000 }).toEqual([]);
  await volume.expectIdenticalCopies();
}

test('after a power cut of its node, another node reads every acknowledged write', async () => {
  const { volume, other, io, acknowledged } = await writtenVolume();
  await cluster.node('n1').powerCut({ silent: true });
  io.kill();
  const written = [...acknowledged];
  // From the node that held no copy: it fences the reflection and reads from it.
  const endpoint = await volume.attach(other);
  await expectPieces(endpoint.uri, written);
  expect((await volume.withMembers(2, other)).head).toBe(other);
  await cluster.node('n1').boot();
  await expectReturned(volume, 'n1', other);
  await expectPieces(endpoint.uri, written);
  await volume.detach(other);
});

/** The processes of a node that would end a head whose node has lost the store. */
function guards(node: string): number[] {
  const isGuard = (pid: number): boolean =>
    commandLine(pid).some((argument) => /src\/(daemon|watchdog)\/main\.ts$/.test(argument));
  return cluster.node(node).pids().filter(isGuard);
}

test.each([
  { head: 'is ended by its node', lives: false },
  { head: 'lives on', lives: true },
])('a head that is cut off and $head acknowledges nothing after a take-over', async ({ lives }) => {
  const { volume, reflection, io, acknowledged } = await writtenVolume();
  const heads = () => cluster.node('n1').pids('head');
  const [head] = heads();
  const frozen = lives ? guards('n1') : [];
  expect(frozen.length > 0).toBe(lives);
  await cluster.lab.network.cut('n1');
  for (const pid of frozen) signal(pid, 'SIGSTOP');
  let written: Piece[] = [];
  try {
    await untilSilent(acknowledged);
    written = [...acknowledged];
    const endpoint = await volume.attach(reflection);
    // Rule 14: no stale reads either, where anybody is left to see to it.
    expect(heads()).toEqual(lives ? [head] : []);
    await expectPieces(endpoint.uri, written);
    const next = cluster.qemuIo(endpoint);
    // Also to the block that the old consumer waits for.
    for (const piece of blocks.slice(0, written.length + 1))
      await next.write({ ...piece, byte: 255 });
    next.kill();
  } finally {
    await cluster.lab.network.heal('n1');
    for (const pid of frozen) signal(pid, 'SIGCONT');
  }
  await expectReturned(volume, 'n1', reflection);
  expect(cluster.node('n1').pids()).not.toContain(head);
  // Nothing was acknowledged behind the cut, and nothing that was stuck landed on what came later.
  expect(acknowledged).toHaveLength(written.length);
  const { uri } = await volume.attach(reflection);
  const overwritten = blocks.slice(0, written.length + 1).map((piece) => ({ ...piece, byte: 255 }));
  await expectPieces(uri, overwritten);
  io.kill();
  await volume.detach(reflection);
});

test('a rebooted member is no authority while one that stayed up is away', async () => {
  const { volume, reflection, other, io, acknowledged } = await writtenVolume();
  // The writer stays up, but nobody reaches it; the reflection loses its power and comes back.
  await cluster.lab.network.cut('n1');
  try {
    await cluster.node(reflection).powerCut();
    await untilSilent(acknowledged);
    const written = [...acknowledged];
    await cluster.node(reflection).boot();
    const attaching = volume.tryAttach(other);
    attaching.catch(() => {});
    const refused = await volume.waitFor(
      ({ state, report }) =>
        state === 'unavailable' && report.findings.some((f) => f.action.includes('Bring n1 back')),
      60_000,
      other,
    );
    expect(refused.head).toBeNull();
    expect(refused.report.findings[0]?.severity).toBe('unavailable');
    // It stays so: nobody promotes the rebooted copy by and by.
    await sleep(3_000);
    expect((await volume.show(other)).state).toBe('unavailable');
    await cluster.lab.network.heal('n1');
    const { status, body } = await attaching;
    expect([status, body]).toMatchObject([200, { host: other }]);
    await expectPieces(body.uri, written);
  } finally {
    await cluster.lab.network.heal('n1');
  }
  io.kill();
  await expectReturned(volume, 'n1', other);
  await volume.detach(other);
});

test('when all members have rebooted, any of them has every acknowledged write', async () => {
  const { volume, reflection, other, io, acknowledged } = await writtenVolume();
  // Of a volume without reflections one member is all of them.
  const single = await cluster.createVolume('Bronze', { via: 'n2' });
  const singleIo = cluster.qemuIo(await single.attach('n1'));
  for (const piece of blocks.slice(0, 60)) await singleIo.write(piece);
  const [n1, peer] = [cluster.node('n1'), cluster.node(reflection)];
  await Promise.all([n1.powerCut(), peer.powerCut()]);
  for (const consumer of [io, singleIo]) consumer.kill();
  const written = [...acknowledged];
  const attaching = [volume, single].map((each) => each.tryAttach(other));
  for (const each of attaching) each.catch(() => {});
  // While they are away nobody can be sure of anything, and says for whom it waits.
  await single.waitFor(
    ({ state, report }) =>
      state === 'unavailable' && report.findings.some((f) => f.action.includes('Bring n1 back')),
    60_000,
    other,
  );
  await Promise.all([n1.boot(), peer.boot()]);
  const [first, second] = await Promise.all(attaching);
  expect([first?.status, second?.status]).toEqual([200, 200]);
  await expectPieces(first?.body.uri ?? '', written);
  await expectPieces(second?.body.uri ?? '', blocks.slice(0, 60));
  await expectReturned(volume, 'n1', other);
  for (const each of [volume, single]) await each.detach(other);
});
