/** A check finds what somebody did to the pools behind our back, explains it, and mends what is safe. */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FsckAnswer } from '../../src/api/operator-schemas.ts';
import { sharedCluster } from './fixture.ts';
import { block } from './fixture-io.ts';
import { type Ended, hscli } from './fixture-run.ts';
import type { TestVolume } from './fixture-volume.ts';

const names = ['n1', 'n2', 'n3'];
const cluster = sharedCluster({ nodes: names });

/** A volume with sealed layers on three nodes. */
async function writtenVolume(): Promise<TestVolume> {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n1'));
  for (const number of [0, 1]) {
    await io.write(block(number));
    await volume.seal('n1');
  }
  io.kill();
  await volume.detach('n1');
  await volume.mended();
  return volume;
}

const fsck = (via: string, ...args: string[]): Promise<Ended> =>
  hscli(cluster.node(via), 'cluster', 'fsck', ...args);

async function findings(via: string, ...args: string[]): Promise<FsckAnswer> {
  return JSON.parse((await fsck(via, '--json', ...args)).stdout);
}

/** Of errors and warnings: what it is, and where. */
const told = ({ findings: all }: FsckAnswer) =>
  all.filter((f) => f.severity !== 'note').map((f) => `${f.kind} ${f.node}`);

const pool = (node: string, ...path: string[]) => join(cluster.node(node).poolDirectory, ...path);

test('a cluster that works is clean, also while layers are sealed, merged and mended', async () => {
  const volume = await cluster.createVolume('Gold');
  const io = cluster.qemuIo(await volume.attach('n2'));
  let over = false;
  const busy = (async () => {
    for (let number = 0; !over; number += 1) {
      await io.write(block(number % 200));
      if (number % 5 === 4) await volume.seal('n2');
    }
  })();
  const restless = await cluster.createVolume('Silver');
  const moving = (async () => {
    for (let turn = 0; !over; turn += 1) {
      const host = names[turn % names.length] ?? '';
      await restless.attach(host);
      await restless.detach(host);
    }
  })();
  try {
    for (const via of names) {
      const { status, stdout, stderr } = await fsck(via);
      expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(/on n1, n2, n3/);
    }
  } finally {
    over = true;
    await Promise.all([busy, moving]);
    io.kill();
  }
  await volume.detach('n2');
});

test('what was done to the pools is explained, and what is safe is repaired', async () => {
  const volume = await writtenVolume();
  const [first = '', second = ''] = volume.files('n1');
  // A clean copy vanishes, another is cut short, and things turn up that nobody knows.
  rmSync(pool('n2', 'volumes', volume.id, first));
  truncateSync(pool('n3', 'volumes', volume.id, second), 1 << 20);
  const stranger = join('volumes', randomUUID(), `7-${randomBytes(16).toString('hex')}.qcow2`);
  mkdirSync(join(pool('n3', stranger), '..'));
  writeFileSync(pool('n3', stranger), 'somebody needs this');
  const left = join('volumes', volume.id, `1-${randomBytes(16).toString('hex')}.qcow2`);
  writeFileSync(pool('n1', left), 'left over');
  writeFileSync(pool('n2', 'volumes', 'notes.txt'), 'notes');

  const ended = await fsck('n1');
  expect(ended.status).toBe(10);
  expect(ended.stderr).toMatch(/2 errors and 3 warnings are left\n.*--repair/);
  for (const text of [
    /ERROR: The clean copy of layer 1 of \S+ on n2 has no file\./,
    /ERROR: The clean copy of layer \d+ of \S+ on n3 has a file of 1048576 bytes instead of \d+\./,
    new RegExp(`WARNING: The pool of n3 .* no record places there: ${stranger}`),
    new RegExp(`WARNING: The pool of n1 .* no record places there: ${left}`),
    /WARNING: The pool of n2 has something that is no layer: volumes\/notes.txt/,
    /never deleted\. \[safe: --repair does it\]/,
  ]) {
    expect(ended.stdout).toMatch(text);
  }
  // Another volume is not concerned.
  const other = await cluster.createVolume('Bronze');
  expect((await fsck('n1', '--volume', other.name)).status).toBe(0);
  const alone = await findings('n2', '--volume', volume.name);
  expect(told(alone).sort()).toEqual(['copy-length n3', 'copy-missing n2', 'file-left-over n1']);

  const repaired = await fsck('n2', '--repair');
  expect({ ...repaired, stdout: '' }, repaired.stdout).toEqual({
    status: 0,
    stdout: '',
    stderr: '',
  });
  expect(repaired.stdout).not.toContain('NOT REPAIRED');
  expect(repaired.stdout.match(/^- .*(Repaired|Moved)/gm)).toHaveLength(5);
  const clean = await fsck('n3');
  expect(clean).toMatchObject({ status: 0, stderr: '' });

  // Nothing was deleted: what was put aside is all there.
  const kept = (node: string) =>
    readdirSync(pool(node, 'quarantine')).filter((name) => !name.endsWith('.manifest'));
  expect(kept('n3')).toHaveLength(2);
  const contents = kept('n3').map((name) => pool('n3', 'quarantine', name));
  const small = contents.find((path) => statSync(path).size < 1000) ?? '';
  expect(readFileSync(small, 'utf8')).toBe('somebody needs this');
  expect(kept('n1')).toHaveLength(1);
  expect(kept('n2')).toHaveLength(1);
  // And the copies are there again, made from what was whole.
  await volume.expectIdenticalCopies();
  for (const name of names) {
    await expect.poll(() => volume.files(name)).toEqual(volume.files('n1'));
  }
});

test('the last copy is never given up, and what cannot be repaired stays told', async () => {
  const volume = await cluster.createVolume('Bronze');
  const io = cluster.qemuIo(await volume.attach('n3'));
  await io.write(block(0));
  io.kill();
  await volume.detach('n3');
  await volume.mended();
  const [name = ''] = volume.files('n3');
  const path = pool('n3', 'volumes', volume.id, name);
  const content = readFileSync(path);
  rmSync(path);
  const { status, stdout } = await fsck('n1', '--repair', '--volume', volume.name);
  expect(status).toBe(10);
  expect(stdout).toMatch(/on n3 has no file\./);
  expect(stdout).toMatch(/It is the only one that could be checked/);
  expect((await volume.show('n1')).report.layers[0]?.copies).toMatchObject([{ node: 'n3' }]);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  expect((await fsck('n1', '--volume', volume.name)).status).toBe(0);
  await cluster.node('n1').api.call('DELETE', `/v1/volumes/${volume.name}`);
});

test('a node that is down is told as not checked, and that alone is no fault', async () => {
  const volume = await writtenVolume();
  await cluster.node('n3').powerCut();
  try {
    await volume.waitFor(({ state }) => state === 'degraded', 60_000, 'n1');
    const answer = await findings('n1');
    expect(told(answer)).toEqual([]);
    expect(answer.nodes).toEqual(['n1', 'n2']);
    expect(answer.findings.map((f) => `${f.severity} ${f.kind} ${f.node}`)).toContain(
      'note node-not-checked n3',
    );
  } finally {
    await cluster.node('n3').boot();
  }
  const wrong = await hscli(cluster.node('n1'), 'cluster', 'fsck', '--volume', 'nope');
  expect(wrong).toMatchObject({ status: 3, stdout: '' });
});
