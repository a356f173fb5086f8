/** Backups of volumes that are in use, on real nodes and disks. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { LabNode } from '../../lab/node.ts';
import type {
  BackupAnswer,
  BackupVerificationAnswer,
  EpisodeAnswer,
  VolumeBackupsAnswer,
} from '../../src/api/backup-schemas.ts';
import type { NodeEvent } from '../../src/api/service.ts';
import { openDirectoryTarget, openRepository } from '../../src/backup/index.ts';
import { mib, sharedCluster } from './fixture.ts';
import { hscli, run } from './fixture-run.ts';
import type { Endpoint, TestVolume } from './fixture-volume.ts';

const directory = mkdtempSync(join(tmpdir(), 'hs-backup-'));
const nas = join(directory, 'nas');
const keyFile = join(directory, 'key');
const key = randomBytes(32);
/** Slow enough that a backup can be interrupted. */
const bytesPerSecond = 4 * mib;
const backup = { bytesPerSecond, targets: { nas: { directory: nas, keyFile } } };

const cluster = sharedCluster({ nodes: ['n1', 'n2'], etcdHost: 'meta', config: { backup } });
cluster.atEnd(() => rmSync(directory, { recursive: true, force: true }));
const node = (name: string): LabNode => cluster.node(name);

let volume: TestVolume;
let endpoint: Endpoint;

beforeAll(async () => {
  mkdirSync(nas);
  writeFileSync(keyFile, key, { mode: 0o600 });
  volume = await cluster.createVolume('Silver', { sizeBytes: 20 * mib });
  endpoint = await volume.attach('n1');
});

/** Content that no compression makes smaller, at an offset. */
async function write(offset: number, bytes: number): Promise<void> {
  const file = join(directory, 'content');
  writeFileSync(file, randomBytes(bytes));
  const args = ['-f', 'raw', '-c', `write -s ${file} ${offset} ${bytes}`, '-c', 'flush'];
  execFileSync('qemu-io', [...args, endpoint.uri]);
}

/** Resolves with what is kept as the base of the next one when it is written. */
async function create(name: string): Promise<EpisodeAnswer> {
  const wish = ['backup', 'create', volume.name, '--name', name, '--no-wait'];
  const ended = await hscli(node('n1'), ...wish);
  expect(ended, ended.stderr).toMatchObject({ status: 0 });
  const written = async () => (await episodes()).find((e) => e.name === name && e.backup !== null);
  await expect.poll(written, { timeout: 90_000, interval: 200 }).toBeDefined();
  return (await written()) as EpisodeAnswer;
}

async function episodes(): Promise<EpisodeAnswer[]> {
  const path = `/v1/volumes/${volume.name}/backups`;
  return (await node('n1').api.call<VolumeBackupsAnswer>('GET', path)).episodes;
}

async function listed(): Promise<BackupAnswer[]> {
  const path = '/v1/backup-targets/nas/backups';
  return (await node('n1').api.call<{ backups: BackupAnswer[] }>('GET', path)).backups;
}

/** What the node that wrote a backup told of it: it does so a moment after the record has it. */
async function written(id: string | null): Promise<Record<string, unknown> | undefined> {
  const told = async () => {
    const all = await Promise.all(['n1', 'n2'].map((name) => cluster.events(name, volume)));
    return all.flat().find((e: NodeEvent) => e.values?.backup === id);
  };
  await expect.poll(told).toBeDefined();
  const found = await told();
  return found?.type === 'backup.written' ? { node: found.node, ...found.values } : undefined;
}

/** A backup as the library reads it, in a file. */
async function contentOf(id: string): Promise<string> {
  const repository = await openRepository(await openDirectoryTarget(nas), key);
  const reader = await repository.open(volume.id, id);
  const content = Buffer.alloc(reader.entry.sizeBytes);
  for await (const piece of reader.chunks()) piece.content.copy(content, piece.offset);
  repository.close();
  const file = join(directory, id);
  writeFileSync(file, content);
  return file;
}

async function expectSame(file: string, uri: string): Promise<void> {
  const compared = await run(['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', file, uri]);
  expect(compared).toMatchObject({ status: 0 });
}

let first: EpisodeAnswer;
let second: EpisodeAnswer;

test('a backup of a volume in use is made by the other node, and goes on when that one is killed', async () => {
  const none = await hscli(node('n1'), 'backup', 'list', '--target', 'nas');
  expect(none).toMatchObject({ status: 3 });
  const made = await hscli(node('n1'), 'backup', 'init', 'nas');
  expect(made, made.stderr).toMatchObject({ status: 0 });
  expect(made.stdout).toMatch(/, encrypted\.\n$/);
  await write(0, 16 * mib);
  const creating = create('first');
  const done = async () => (await episodes())[0]?.doneBytes ?? 0;
  await expect.poll(done, { timeout: 60_000 }).toBeGreaterThan(9 * mib);
  await node('n2').killDaemon();
  // Nothing changes before its lease has run out.
  expect(await episodes()).toMatchObject([{ shipper: 'n2', backup: null, asked: true }]);
  expect(await listed()).toEqual([]);
  await node('n2').start();
  first = await creating;
  // Perhaps n1 was faster than n2 came back: nothing is sent twice in both cases.
  const told = await written(first.backup);
  expect(told?.sentBytes).toBeLessThan(16 * mib);
  await expectSame(await contentOf(first.backup ?? ''), endpoint.uri);
});

test('the next one reads only what changed; both stay what they are', async () => {
  await write(10 * mib, mib);
  const discard = ['-f', 'raw', '-t', 'none', '--discard=unmap', '-c', 'write -z 0 1M'];
  execFileSync('qemu-io', [...discard, endpoint.uri]);
  second = await create('second');
  expect(await written(second.backup)).toMatchObject({ readBytes: 2 * mib, whole: false });
  await expectSame(await contentOf(second.backup ?? ''), endpoint.uri);
  expect((await episodes()).map((e) => e.name)).toEqual(['second']);
  expect(await listed()).toMatchObject([
    { name: 'first', volumeName: volume.name },
    { name: 'second', volume: volume.id, target: 'nas' },
  ]);
});

test('a plan begins by itself, and what it made is removed by it alone', async () => {
  const planned = await cluster.createVolume('Silver');
  await planned.attach('n2');
  const set = ['volume', 'set', planned.name, '--episode', '1m', '--backup-target', 'nas'];
  expect(await hscli(node('n1'), ...set)).toMatchObject({ status: 2 });
  expect(await hscli(node('n1'), ...set.slice(0, -1), 'nowhere', '--keep-last', '1')).toMatchObject(
    {
      status: 3,
    },
  );
  const done = await hscli(node('n1'), ...set, '--keep-last', '2');
  expect(done.stdout).toContain('every 1 min to nas; kept: 2 last');
  const names = async () =>
    (await listed()).filter((b) => b.volume === planned.id).map((b) => b.name);
  await expect.poll(names, { timeout: 60_000 }).toEqual([expect.stringMatching(/^episode-/)]);
  const off = await hscli(node('n1'), 'volume', 'set', planned.name, '--episode', 'off');
  expect(off, off.stderr).toMatchObject({ status: 0 });
  await planned.detach('n2');
  await node('n1').api.call('DELETE', `/v1/volumes/${planned.name}`);
  expect(await names()).toHaveLength(1);
});

test('damage of one chunk is told of the backup that has it, and of no other', async () => {
  const sound = await hscli(node('n1'), 'backup', 'verify', 'nas', '--full');
  expect(sound, sound.stdout + sound.stderr).toMatchObject({ status: 0 });
  const sessions = join(nas, 'data', volume.id);
  const newest = (await readdir(sessions)).sort().at(-1) ?? '';
  const names = await readdir(join(sessions, newest), { recursive: true, withFileTypes: true });
  const sizes = names
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, content: readFileSync(path) }))
    .sort((a, b) => b.content.length - a.content.length);
  const [chunk] = sizes;
  if (chunk === undefined) throw new Error('there is no chunk');
  chunk.content[1000] = (chunk.content[1000] ?? 0) ^ 1;
  writeFileSync(chunk.path, chunk.content);
  const found = await hscli(node('n2'), 'backup', 'verify', 'nas', '--full', '--json');
  expect(found).toMatchObject({ status: 9 });
  const { damaged } = JSON.parse(found.stdout) as BackupVerificationAnswer;
  expect(damaged).toMatchObject([
    { backup: { id: second.backup }, ranges: [{ offset: 10 * mib, length: mib }] },
  ]);
  expect(damaged).toHaveLength(1);
  const gone = await hscli(node('n1'), 'backup', 'delete', `nas/${second.backup}`, '--yes');
  expect(gone, gone.stderr).toMatchObject({ status: 0 });
  expect(await hscli(node('n1'), 'backup', 'verify', 'nas', '--full')).toMatchObject({ status: 0 });
  // One that is given up while it is written leaves nothing.
  const wish = ['backup', 'create', volume.name, '--name', 'given-up', '--no-wait'];
  expect(await hscli(node('n1'), ...wish)).toMatchObject({ status: 0 });
  const waiting = async () => (await episodes()).find((e) => e.name === 'given-up');
  await expect
    .poll(async () => (await waiting())?.doneBytes ?? 0, { timeout: 60_000 })
    .toBeGreaterThan(0);
  expect(await hscli(node('n1'), 'backup', 'cancel', volume.name)).toMatchObject({ status: 0 });
  expect(await waiting()).toBeUndefined();
  const repository = await openRepository(await openDirectoryTarget(nas), key);
  await expect.poll(() => repository.unfinished(volume.id), { timeout: 60_000 }).toEqual([]);
  repository.close();
  // Its base is gone: all is looked at, and what the older one has is not stored again.
  const third = await create('third');
  const told = await written(third.backup);
  expect(told).toMatchObject({ whole: true });
  expect(told?.sentBytes).toBeLessThan(2 * mib);
  expect((await listed()).map((b) => b.name)).not.toContain('given-up');
  await expectSame(await contentOf(third.backup ?? ''), endpoint.uri);
});
