/** Data that cannot be reached is given up only when an operator says so, and never comes back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { LossAnswer } from '../../src/api/operator-schemas.ts';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces, type Piece, type QemuIo } from './fixture-io.ts';
import { hscli } from './fixture-run.ts';
import { members, type Problem, reflections, type TestVolume } from './fixture-volume.ts';

const names = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes: names, etcdHost: 'meta' });

afterEach(async () => {
  // A test that failed leaves the next one a whole cluster.
  for (const name of names) {
    await cluster.lab.network.heal(name).catch(() => undefined);
    if (!cluster.node(name).running) await cluster.node(name).boot();
  }
});

const older = [block(1), block(2)];
const newer = [block(3), block(4)];
const zeros = newer.map((piece) => ({ ...piece, byte: 0 }));

async function write(io: QemuIo, pieces: readonly Piece[]): Promise<void> {
  for (const piece of pieces) await io.write(piece);
}

/** The newest writes are on n1 and n2 alone; n3 has, unproven, what was there before. */
async function aheadOfN3(): Promise<{ volume: TestVolume; io: QemuIo }> {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await volume.withMembers(3, 'n1');
  await write(io, older);
  await cluster.node('n3').powerCut();
  await volume.waitFor((state) => members(state).length === 2, 60_000, 'n1');
  await write(io, newer);
  return { volume, io };
}

const force = (via: string, ...args: string[]) =>
  hscli(cluster.node(via), 'volume', 'force', ...args);

test('writes that are on dead nodes alone are given up by force only, and stay given up', async () => {
  const { volume, io } = await aheadOfN3();
  // Both live on, with the head, but nobody reaches them.
  for (const name of ['n1', 'n2']) await cluster.lab.network.cut(name);
  await cluster.node('n3').boot();
  const attaching = volume.tryAttach('n3');
  attaching.catch(() => undefined);
  await volume.waitFor(
    ({ state, report }) =>
      state === 'unavailable' &&
      report.findings.some((f) => f.action.includes(`hscli volume force ${volume.name}`)),
    60_000,
    'n3',
  );

  const shown = await force('n3', volume.name, '--dry-run');
  expect(shown).toMatchObject({ status: 0, stderr: '' });
  expect(shown.stdout).toMatch(
    /LOST: all writes acknowledged since epoch \d+ began \(it began at 20/,
  );
  expect(shown.stdout).toMatch(/The layers? of epochs? [^.]+, on n1 and n2, (is|are) taken out/);
  expect(shown.stdout).toMatch(/Better: bring n1 and n2 back/);
  expect(shown.stdout).toMatch(/See that n1 is switched off/);
  expect(shown.stdout).toMatch(/The attachments on [^.]*n3 end/);
  // Nobody can be asked, and something else was agreed to: nothing is done.
  expect(await force('n3', volume.name)).toMatchObject({ status: 2 });
  const path = `/v1/volumes/${volume.name}`;
  const { api } = cluster.node('n3');
  const wrong = await api.request('POST', `${path}/force`, { believed: [], dropped: [] });
  expect(wrong).toMatchObject({ status: 409, body: { code: 'conflict' } });
  expect((await volume.show('n3')).losses).toEqual([]);

  const done = await force('n3', volume.name, '--yes');
  expect(done).toMatchObject({ status: 0, stdout: expect.stringContaining('goes on without') });
  expect(done.stderr).toContain('LOST: all writes acknowledged since');
  // Whoever waited may have seen newer data: he is told.
  expect(await attaching).toMatchObject({ status: 409 });
  const told = await hscli(cluster.node('n3'), 'volume', 'show', volume.name);
  expect(told.stdout).toMatch(/Data that was given up:\n- .*, by \S+ on n3:\n {4}LOST: all writes/);
  const { uri } = await volume.attach('n3');
  await expectPieces(uri, [...older, ...zeros]);
  expect(await force('n3', volume.name, '--yes')).toMatchObject({ status: 5 });

  for (const name of ['n1', 'n2']) await cluster.lab.network.heal(name);
  await volume.mended('n3');
  await expect.poll(() => cluster.node('n1').pids('head'), { timeout: 60_000 }).toEqual([]);
  // Its watchdog may have ended the head before its daemon knew why.
  const hosts = async () => (await volume.show('n1')).attachments.map((a) => a.host);
  await expect.poll(hosts).toEqual(['n3']);
  // The old consumer finds nothing to write to, and its data is put aside rather than deleted.
  const late = io.write(block(9)).then(
    () => 'acknowledged',
    () => 'refused',
  );
  await volume.expectIdenticalCopies();
  for (const name of ['n1', 'n2']) {
    const aside = () => readdirSync(join(cluster.node(name).poolDirectory, 'quarantine'));
    await expect.poll(() => aside().length, { timeout: 60_000 }).toBeGreaterThan(0);
  }
  await expectPieces(uri, [...older, ...zeros, { ...block(9), byte: 0 }]);
  io.kill();
  expect(await late).toBe('refused');
  const checked = await hscli(cluster.node('n1'), 'cluster', 'fsck');
  expect(checked, checked.stdout).toMatchObject({ status: 0 });
  await volume.detach('n3');
});

test('a member that was restarted is believed, with every write that was acknowledged', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  const [reflection = ''] = reflections(await volume.withMembers(2, 'n1'));
  await write(io, older);
  const other = ['n2', 'n3'].find((name) => name !== reflection) ?? '';
  await cluster.lab.network.cut('n1');
  await cluster.node(reflection).powerCut();
  await cluster.node(reflection).boot();
  io.kill();
  // While the lease of n1 lives it may be serving: force waits for its end as a take-over does.
  const planned = async () => (await force(other, volume.name, '--dry-run', '--json')).stdout;
  await expect.poll(planned, { timeout: 60_000 }).toContain('"why": "rebooted"');
  const shown = await force(other, volume.name, '--dry-run', '--json');
  const { believed, dropped, missing } = JSON.parse(shown.stdout) as LossAnswer;
  expect({ dropped, missing }).toEqual({ dropped: [], missing: ['n1'] });
  expect(believed).toMatchObject([{ node: reflection, why: 'rebooted' }]);
  expect(await force(other, volume.name, '--yes')).toMatchObject({ status: 0 });
  const { uri } = await volume.attach(other);
  await expectPieces(uri, older);
  await cluster.lab.network.heal('n1');
  await volume.mended(other);
  await volume.expectIdenticalCopies();
  await volume.detach(other);
});

test('force is refused where nothing is lost, and where nothing is left', async () => {
  const volume = await cluster.createVolume('Silver');
  const io = cluster.qemuIo(await volume.attach('n1'));
  await write(io, older);
  const refused = await force('n2', volume.name, '--yes');
  expect(refused).toMatchObject({ status: 5, stdout: '' });
  expect(refused.stderr).toMatch(/no data of volume \S+ is out of reach/);
  // Its node is gone, but a member that stayed up takes over without loss.
  const single = await cluster.createVolume('Bronze');
  const singleIo = cluster.qemuIo(await single.attach('n1'));
  await write(singleIo, older);
  await cluster.node('n1').powerCut({ silent: true });
  for (const consumer of [io, singleIo]) consumer.kill();
  await single.waitFor(({ state }) => state === 'unavailable', 60_000, 'n2');
  expect(await force('n2', volume.name, '--yes')).toMatchObject({ status: 5 });
  const nothing = await force('n2', single.name, '--yes');
  expect(nothing).toMatchObject({ status: 6, stdout: '' });
  expect(nothing.stderr).toMatch(/there is no older state to go back to\n.*Bring back n1/);
  expect(await force('n2', 'nope')).toMatchObject({ status: 3 });
  const { body } = await cluster
    .node('n2')
    .api.request<Problem>('POST', `/v1/volumes/${single.name}/force`, { dropped: [] });
  expect(body.code).toBe('bad-input');
  await cluster.node('n1').boot();
});

test('a consumer that is cut off is detached by force, and can change nothing any more', async () => {
  const volume = await cluster.createVolume('Silver');
  const head = cluster.qemuIo(await volume.attach('n1'));
  const far = cluster.qemuIo(await volume.attach('n3'));
  await far.write(block(1));
  await cluster.lab.network.cut('n3');
  const begun = performance.now();
  const there = `/v1/volumes/${volume.name}/attachments/n3?force=true`;
  expect((await cluster.node('n1').api.request('DELETE', there)).status).toBe(204);
  // It waits for no lease and no answer of n3: the head is here.
  expect(performance.now() - begun).toBeLessThan(5_000);
  const late = far.write(block(1)).then(
    () => 'acknowledged',
    () => 'refused',
  );
  await head.write({ ...block(1), byte: 77 });
  await cluster.lab.network.heal('n3');
  await expect.poll(() => cluster.node('n3').pids('proxy'), { timeout: 60_000 }).toEqual([]);
  await head.read({ ...block(1), byte: 77 });
  far.kill();
  expect(await late).toBe('refused');
  // The head's own host: its consumer is shut out when its epoch has ended.
  await cluster.lab.network.cut('n1');
  const state = await volume.withMembers(2, 'n2');
  const [via = ''] = members(state).filter((name) => name !== 'n1');
  const own = ['volume', 'detach', volume.name, '--node', 'n1', '--force'];
  const ended = await hscli(cluster.node(via), ...own);
  expect(ended).toMatchObject({ status: 0, stderr: '' });
  expect((await volume.show(via)).report.layers.every((l) => l.state === 'sealed')).toBe(true);
  head.kill();
  await cluster.lab.network.heal('n1');
  await volume.mended(via);
  expect(await hscli(cluster.node('n2'), ...own)).toMatchObject({ status: 0 });
});
