/** Volumes from backups, on real nodes and disks. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import type { LabNode } from '../../lab/node.ts';
import type { VolumeAnswer } from '../../src/api/schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { sizeBytes, storedBytes, TestRepository } from './fixture-repository.ts';
import { hscli } from './fixture-run.ts';
import { type Problem, TestVolume } from './fixture-volume.ts';

const repository = new TestRepository();
const { backups, targets } = repository;
const cluster = sharedCluster({ nodes: ['n1', 'n2'], config: { backup: { targets } } });
cluster.atEnd(() => repository.remove());
const n1 = (): LabNode => cluster.node('n1');

beforeAll(() => repository.make());

async function expectContent(name: string, file: string, host: string): Promise<void> {
  const volume = new TestVolume(cluster.lab, name, '');
  const { uri } = await volume.attach(host);
  const args = ['compare', '-f', 'raw', '-F', 'raw', uri, file];
  expect(execFileSync('qemu-img', args, { encoding: 'utf8' })).toContain('identical');
  await volume.detach(host);
}

const restored = (from: string, ...args: string[]) =>
  n1().hscli<VolumeAnswer>('backup', 'restore', from, ...args);

/** What is left of restores: records, files, sockets, and pins of backups that are read. */
async function leftovers(): Promise<string[]> {
  const { volumes } = await n1().api.call<{ volumes: VolumeAnswer[] }>('GET', '/v1/volumes');
  const below = (path: string) => {
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
    return names.filter((name) => /\.(qcow2|tmp|sock)$|pins\/.*\//.test(name));
  };
  const { poolDirectory, runDirectory } = n1();
  return [
    ...volumes.map((v) => v.name),
    ...below(join(poolDirectory, 'volumes')),
    ...below(join(poolDirectory, 'spares')).filter((name) => name.endsWith('.tmp')),
    ...below(join(runDirectory, 'restore')),
    ...below(backups).filter((name) => name.startsWith('pins')),
  ].sort();
}

/** What is left and was not there before. */
async function more(before: readonly string[]): Promise<string[]> {
  return (await leftovers()).filter((name) => !before.includes(name));
}

test('a volume shows what was backed up, of any day, and gets its copies', async () => {
  const { file, id } = repository.day(0);
  const made = await restored(`nas/${id}`, '--name', 'by-id', '--policy', 'Silver');
  expect(made).toMatchObject({ name: 'by-id', sizeBytes, policy: { name: 'Silver' } });
  await expectContent('by-id', file, 'n2');
  const time = new Date(repository.day(1).at + 3_600_000).toISOString();
  await restored('nas', '--volume', 'db1', '--at', time, '--name', 'by-time', '--policy', 'Bronze');
  await expectContent('by-time', repository.day(1).file, 'n1');
  const { report } = await new TestVolume(cluster.lab, 'by-id', made.id).mended();
  // Zeros take no space.
  expect(report.layers[0]?.bytes).toBeLessThan(storedBytes + 4 * mib);
});

test('what cannot be restored says why, and leaves nothing', async () => {
  const before = await leftovers();
  const refused = async (body: object) => {
    const path = '/v1/volumes/restore';
    const answer = await n1().api.request<Problem>('POST', path, { name: 'no', ...body }, 60_000);
    const { code, detail, hint } = answer.body;
    return `${code}: ${detail} ${hint}`;
  };
  const { id } = repository.day(1);
  const early = '2020-01-01T00:00:00Z';
  const answers = await Promise.all(
    [
      { target: 'keyless', backup: id, name: 'a' },
      { target: 'wrong', backup: id, name: 'b' },
      { target: 'none', backup: id },
      { target: 'nas', backup: id, name: 'by-id' },
    ].map(refused),
  );
  expect(answers).toEqual([
    expect.stringMatching(/^bad-input: .*is encrypted.*key/),
    expect.stringMatching(/^bad-input: .*not the one of the repository/),
    expect.stringMatching(/^not-found: .*no backup target none.*docs/),
    expect.stringMatching(/^exists: /),
  ]);
  // One of a name at a time.
  expect(await refused({ target: 'nas', backup: '0'.repeat(32) })).toMatch(/^not-found: .*0000 in/);
  expect(await refused({ target: 'nas', volume: 'db1', at: early, stream: true })).toMatch(
    /^not-found: .*or before.*first one is of 2026-11-16T04/,
  );
  await expect.poll(() => more(before)).toEqual([]);
  await expect.poll(() => readdirSync(join(n1().runDirectory, 'streams'))).toEqual([]);
});

test('a restore that is cancelled, deleted or killed leaves nothing', async () => {
  const before = await leftovers();
  const args = ['backup', 'restore', `nas/${repository.day(1).id}`, '--name', 'gone'];
  const begun = () => expect.poll(leftovers, { interval: 5, timeout: 60_000 }).toContain('gone');
  const env = { ...process.env, HYPERSCALE_SOCKET: n1().socketPath };
  const child = spawn(join(binDirectory, 'hscli'), args, { env, stdio: 'ignore' });
  await begun();
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([130, null]);
  await expect.poll(() => more(before), { timeout: 60_000 }).toEqual([]);

  const deleted = hscli(n1(), ...args);
  await begun();
  await n1().api.call('DELETE', '/v1/volumes/gone');
  expect(await deleted).toMatchObject({ status: 5, stderr: expect.stringContaining('deleted') });
  await expect.poll(() => more(before), { timeout: 60_000 }).toEqual([]);

  const killed = hscli(n1(), ...args);
  await begun();
  await n1().killDaemon();
  expect((await killed).status).not.toBe(0);
  await n1().start();
  await expect.poll(() => more(before), { timeout: 60_000 }).toEqual([]);
});

test('a damaged backup is not restored, and the lost part is named', async () => {
  const before = await leftovers();
  const data = join(backups, 'data');
  const objects = readdirSync(data, { recursive: true, encoding: 'utf8' })
    .map((name) => ({ path: join(data, name), status: statSync(join(data, name)) }))
    .filter(({ status }) => status.isFile() && status.size > mib)
    .sort((a, b) => a.status.mtimeMs - b.status.mtimeMs);
  // One of the last that were put: the older backup does not have it.
  const { path } = objects.at(-1) ?? { path: '' };
  const content = readFileSync(path);
  content.writeUInt8(content.readUInt8(4_000) ^ 1, 4_000);
  writeFileSync(path, content);
  const args = ['backup', 'restore', 'nas', '--volume', 'db1', '--name', 'hurt'];
  const { status, stderr } = await hscli(n1(), ...args);
  expect([status, stderr]).toEqual([9, expect.stringMatching(/1048576 bytes at \d+ are lost/)]);
  await expect.poll(() => more(before)).toEqual([]);
  await restored(`nas/${repository.day(0).id}`, '--name', 'whole', '--policy', 'Bronze');
  await expectContent('whole', repository.day(0).file, 'n1');
});
