/** A volume is used while its content still comes from a backup. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import type { LabNode } from '../../lab/node.ts';
import { commandLine } from '../../lab/processes.ts';
import type { VolumeAnswer } from '../../src/api/schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { TestRepository } from './fixture-repository.ts';
import { TestVolume } from './fixture-volume.ts';

const repository = new TestRepository();
const { targets } = repository;
// So slow that it can be held.
const config = { backup: { targets, restoreBytesPerSecond: 8 * mib } };
const cluster = sharedCluster({ nodes: ['n1', 'n2'], etcdNode: 'n2', config });
cluster.atEnd(() => repository.remove());
const n1 = (): LabNode => cluster.node('n1');

beforeAll(() => repository.make());

/** Processes of a node with this in their command line. */
function pids(node: LabNode, part: string): number[] {
  return node.pids().filter((pid) => commandLine(pid).some((word) => word.includes(part)));
}

/** Lets the copying stand still on a node, now and whenever it begins anew, until it is called. */
function holdCopying(node: LabNode): () => void {
  const stopped = new Set<number>();
  const look = () => {
    for (const pid of pids(node, 'streams/')) {
      if (commandLine(pid)[0] !== 'qemu-img') continue;
      process.kill(pid, 'SIGSTOP');
      stopped.add(pid);
    }
  };
  const timer = setInterval(look, 5);
  return () => {
    clearInterval(timer);
    for (const pid of stopped) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It ended with its daemon.
      }
    }
  };
}

async function begin(name: string, day: number): Promise<TestVolume> {
  const from = `nas/${repository.day(day).id}`;
  const args = ['backup', 'restore', from, '--name', name, '--policy', 'Silver', '--stream'];
  const { id } = await n1().hscli<VolumeAnswer>(...args);
  return new TestVolume(cluster.lab, name, id);
}

const run = promisify(execFile);

async function compare(uri: string, file: string): Promise<void> {
  const args = ['compare', '-f', 'raw', '-F', 'raw', uri, file];
  expect((await run('qemu-img', args)).stdout).toContain('identical');
}

async function write(to: string): Promise<void> {
  await run('qemu-io', ['-f', 'raw', to, '-c', 'write -P 7 8M 1M', '-c', 'flush']);
}

/** What the volume is to hold after `write`. */
async function writtenTo(file: string): Promise<string> {
  const path = join(repository.directory, 'written');
  await copyFile(file, path);
  await write(path);
  return path;
}

test('guests use it at once, through everything that ends, and then it is as any', async () => {
  const { file } = repository.day(0);
  const nodes = [n1(), cluster.node('n2')];
  const held = nodes.map(holdCopying);
  const volume = await begin('live', 0);
  const { uri } = await cluster.consumer(await volume.attach('n2'));
  const { report } = await volume.show('n2');
  expect(report).toMatchObject({ state: 'at-risk', summary: expect.stringMatching(/restored/) });
  await compare(uri, file);
  await write(uri);
  const written = await writtenTo(file);
  await n1().hscli('volume', 'clone', 'live', 'live-clone');
  const clone = new TestVolume(cluster.lab, 'live-clone', '');
  await compare((await cluster.consumer(await clone.attach('n1'))).uri, written);

  // The daemon is away; what serves the backup is not.
  const [serving] = pids(n1(), 'stream-main');
  await n1().killDaemon();
  await compare(uri, written);
  await n1().start();
  // Where daemons start slowly, the other node goes on meanwhile.
  const { report: now } = await volume.show('n2');
  const copying = now.layers[0]?.copies.find(({ state }) => state === 'copying');
  const place = cluster.node(copying?.node ?? '');
  if (place === n1()) expect(pids(place, 'stream-main')).toEqual([serving]);
  // It dies, and reads wait for the next one.
  const [dies = 0] = pids(place, 'stream-main');
  process.kill(dies, 'SIGKILL');
  await compare(uri, written);
  const [next = dies] = pids(place, 'stream-main');
  expect(next).not.toBe(dies);

  expect((await volume.show('n2')).state).toBe('at-risk');
  for (const goOn of held) goOn();
  const { report: whole } = await volume.mended('n2');
  expect(whole.layers[0]).toMatchObject({ state: 'sealed' });
  await volume.expectIdenticalCopies();
  await compare(uri, written);
  await clone.detach('n1');
  await clone.waitFor(({ state }) => state === 'healthy', 60_000);
  // Nobody reads the backup any more, and nothing is left of that.
  const left = () => [
    ...nodes.flatMap((node) => pids(node, 'stream-main')),
    ...nodes.flatMap((node) => readdirSync(join(node.runDirectory, 'streams'))),
    ...readdirSync(join(repository.backups, 'pins'), { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.includes('/'),
    ),
  ];
  // The pin of the one that was killed too: the next one gave it up.
  await expect.poll(left, { timeout: 60_000 }).toEqual([]);
  await volume.detach('n2');
});

test('another node goes on when the one that restores is lost, and a deletion ends it all', async () => {
  const { file } = repository.day(1);
  const held = holdCopying(n1());
  const volume = await begin('moved', 1);
  const { uri } = await cluster.consumer(await volume.attach('n2'));
  await compare(uri, file);
  await n1().powerCut();
  held();
  const goOn = holdCopying(cluster.node('n2'));
  // Reads wait until then.
  await compare(uri, file);
  const { report } = await volume.show('n2');
  expect(report.layers[0]?.copies).toEqual([{ node: 'n2', state: 'copying', up: true }]);
  await volume.detach('n2');
  await cluster.node('n2').api.call('DELETE', '/v1/volumes/moved');
  await expect.poll(() => pids(cluster.node('n2'), 'stream-main'), { timeout: 60_000 }).toEqual([]);
  goOn();
  await n1().boot();
  await expect.poll(() => volume.files('n2'), { timeout: 60_000 }).toEqual([]);
  await expect.poll(() => volume.files('n1'), { timeout: 60_000 }).toEqual([]);
});
