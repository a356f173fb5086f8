/** A daemon that cannot work says why and ends, before it has touched anything. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { LabNode } from '../../lab/node.ts';
import { checkConfig, readConfig } from '../../src/daemon/config.ts';
import { recognisePool } from '../../src/node/pool.ts';
import { sharedCluster } from './fixture.ts';
import { type Ended, hyperscaled } from './fixture-run.ts';

// Only n1 is ever up: what is refused is refused before the store is asked.
const cluster = sharedCluster({ nodes: ['n1', 'n2'], start: false });
const unusable = 8;

let n1: LabNode;
let n2: LabNode;
let secretFile: string;
/** A pool of n2 that is in order, for starts that are to fail for another reason. */
let pool: string;

beforeAll(async () => {
  n1 = cluster.node('n1');
  n2 = cluster.node('n2');
  secretFile = join(cluster.lab.directory, 'secret');
  await n1.start();
  pool = n2.poolDirectory;
  expect((await hyperscaled(n2, ['init-pool', '--config', n2.configFile])).status).toBe(0);
});

/** Starts n2's daemon with these settings, over those that would do. */
async function start(settings: object, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  n2.configure({ etcd: [`http://${n1.address}:7482`], secretFile, ...settings });
  return hyperscaled(n2, undefined, env);
}

/** Starts n2's daemon on its own pool; resolves once it answers. */
async function startForReal(): Promise<void> {
  n2.configure({ etcd: [`http://${n1.address}:7482`], secretFile });
  await n2.waitReady(n2.spawnDaemon());
}

function directory(name: string): string {
  const path = join(n2.directory, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function expectRefused(ended: Ended, status: number, text: RegExp): void {
  expect(ended.stderr).toMatch(text);
  expect(ended.status).toBe(status);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
}

test('a pool that is missing is not made', async () => {
  const missing = join(n2.directory, 'nowhere');
  expectRefused(await start({ pool: missing }), unusable, /nowhere does not exist/);
  expect(readdirSync(n2.directory)).not.toContain('nowhere');
  const file = join(n2.directory, 'file');
  writeFileSync(file, '');
  expectRefused(await start({ pool: file }), unusable, /file is not a directory/);
});

test('an empty directory is no pool: its disk may not be mounted', async () => {
  const empty = directory('empty');
  expectRefused(await start({ pool: empty }), unusable, /not a pool.*mounted.*init-pool/s);
  expect(readdirSync(empty)).toEqual([]);
});

test('the pool of another node is refused, and left as it is', async () => {
  const foreign = directory('foreign');
  cpSync(join(n1.poolDirectory, 'hyperscale-pool.json'), join(foreign, 'hyperscale-pool.json'));
  expectRefused(await start({ pool: foreign }), unusable, /pool of node n1, not of n2/);
  expect(readdirSync(foreign)).toEqual(['hyperscale-pool.json']);
});

test('another pool of this node than the one it had before is refused', async () => {
  await startForReal();
  // With everything it started, so that what a refused start leaves behind can be seen below.
  await n2.powerCut();
  const fresh = directory('fresh');
  n2.configure({ etcd: [`http://${n1.address}:7482`], secretFile, pool: fresh });
  expect((await hyperscaled(n2, ['init-pool', '--config', n2.configFile])).status).toBe(0);
  expectRefused(await start({ pool: fresh }), unusable, /n2.*pool/s);
});

test('an identity file that cannot be read is no identity', async () => {
  const broken = directory('broken');
  for (const text of ['', '{', '[]', 'null', '{"node":"n2"}']) {
    writeFileSync(join(broken, 'hyperscale-pool.json'), text);
    await expect(recognisePool(broken, 'n2')).rejects.toMatchObject({
      code: 'foreign-pool',
      message: expect.stringContaining(broken),
    });
  }
  expectRefused(await start({ pool: broken }), unusable, /broken/);
});

test('a pool that cannot be written to is refused', async () => {
  const sealed = directory('sealed');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', sealed]);
  try {
    expectRefused(await start({ pool: sealed }), unusable, /sealed is not writable.*[Rr]ead-only/s);
  } finally {
    execFileSync('umount', [sealed]);
  }
});

test('a pool is made once, in an empty directory', async () => {
  n2.configure({ etcd: 'managed', secretFile });
  const again = await hyperscaled(n2, ['init-pool', '--config', n2.configFile]);
  expect(again.status).not.toBe(0);
  expect(again.stderr).toMatch(/is a pool already/);
  const used = directory('used');
  writeFileSync(join(used, 'letter.txt'), 'dear');
  n2.configure({ etcd: 'managed', secretFile, pool: used });
  const full = await hyperscaled(n2, ['init-pool', '--config', n2.configFile]);
  expect(full.status).not.toBe(0);
  expect(full.stderr).toMatch(/not empty.*letter\.txt/);
  expect(readdirSync(used)).toEqual(['letter.txt']);
});

test('a second daemon on a run directory or a pool is refused, and the first works on', async () => {
  const [pid] = n1.pids('daemon');
  expectRefused(
    await hyperscaled(n1),
    unusable,
    new RegExp(`run directory .*in use by process ${pid}`),
  );
  const settings = { node: 'n1', address: n2.address, pool: n1.poolDirectory };
  expectRefused(await start(settings), unusable, new RegExp(`pool .*in use by process ${pid}`));
  expect(n1.pids('daemon')).toEqual([pid]);
  expect(await n1.api.call('GET', '/v1/health')).toMatchObject({ status: 'ok' });
});

test('QEMU that is too old or missing is refused with the version that is needed', async () => {
  const fake = (script: string): NodeJS.ProcessEnv => {
    const bin = directory('bin');
    const program = join(bin, 'qemu-storage-daemon');
    writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return { PATH: `${bin}:${process.env.PATH}` };
  };
  const says = (version: string) => fake(`echo 'qemu-storage-daemon version ${version}'`);
  const old = await start({ pool }, says('7.2.19 (Debian 1:7.2+dfsg-7+deb12u15)'));
  expectRefused(old, unusable, /QEMU 7\.2 is too old: 8\.2 is needed.*backports/s);
  expectRefused(await start({ pool }, fake("echo 'hello'")), unusable, /version.*hello/s);
  const crashed = await start({ pool }, fake('echo broken >&2; exit 3'));
  expect(crashed.status).not.toBe(0);
  expect(crashed.stderr).toContain('broken');
});

test.each([
  [{ node: 'a/b' }, /node \("a\/b"\)/],
  [{ node: '' }, /node/],
  [{ address: 'localhost' }, /address localhost is no IP address/],
  [{ address: '10.0.0.256' }, /10\.0\.0\.256/],
  [{ address: undefined }, /address/],
  [{ pool: 'relative/pool' }, /pool \("relative\/pool"\)/],
  [{ etcd: [] }, /etcd/],
  [{ etcd: ['10.0.0.1:2379'] }, /etcd/],
  [{ etcd: 'unmanaged' }, /etcd/],
  [{ ports: { api: 70_000 } }, /ports\.api \(70000\)/],
  [{ ports: { api: 'http' } }, /ports\.api/],
  [{ ports: { gateways: [7599, 7500] } }, /gateways/],
  [{ ports: { sockets: 1 } }, /ports.*sockets/],
  [{ repairDelaySeconds: -1 }, /repairDelaySeconds \(-1\)/],
  [{ logLevel: 'loud' }, /logLevel/],
  [{ poool: '/x' }, /poool/],
])('the setting %j is refused by its name', (settings, text) => {
  const complete = { node: 'n2', address: '10.0.0.2', ...settings };
  expect(() => checkConfig(complete, 'config.yaml')).toThrow(text);
  expect(() => checkConfig(complete, 'config.yaml')).toThrow(/config\.yaml/);
});

test('a daemon does not start with a configuration that is not right in all parts', async () => {
  expectRefused(await start({ ports: { api: 70_000 } }), 2, /hyperscale\.yaml.*ports\.api/);
  const long = join(n2.directory, 'long'.repeat(25));
  expectRefused(await start({ runDirectory: long }), 2, /too long.*shorter runDirectory/s);
  const path = join(n2.directory, 'etc', 'bad.yaml');
  const run = () => hyperscaled(n2, ['--config', path]);
  expectRefused(await run(), 2, /bad\.yaml.*(ENOENT|no such file)/s);
  writeFileSync(path, 'node: [');
  expectRefused(await run(), 2, /bad\.yaml/);
  for (const text of ['', '- a\n- b\n', 'just words']) {
    writeFileSync(path, text);
    await expect(readConfig(path)).rejects.toThrow(/bad\.yaml/);
  }
  expectRefused(await hyperscaled(n2, ['--konfig', path]), 2, /--konfig/);
  expectRefused(await hyperscaled(n2, ['--config']), 2, /--config/);
});

test('without a good secret no node starts', async () => {
  const missing = join(n2.directory, 'no-secret');
  expectRefused(await start({ secretFile: missing }), 2, /no-secret.*openssl rand/s);
  for (const secret of ['short', 'x'.repeat(40).concat('\nsecond line')]) {
    const file = join(n2.directory, 'bad-secret');
    writeFileSync(file, secret);
    expectRefused(await start({ secretFile: file }), 2, /secret/);
    // It was refused before anything of it ran.
    expect(n2.pids()).toEqual([]);
  }
  const empty = join(n2.directory, 'no-boot');
  writeFileSync(empty, '');
  expectRefused(await start({ bootIdFile: empty }), 2, /boot id/);
});

test('after all that, the node starts on its own pool as if nothing had been', async () => {
  await startForReal();
  const nodes = async () => (await n1.api.call<{ nodes: object[] }>('GET', '/v1/nodes')).nodes;
  await expect.poll(nodes).toMatchObject([
    { name: 'n1', up: true },
    { name: 'n2', up: true },
  ]);
  const identity = JSON.parse(readFileSync(join(pool, 'hyperscale-pool.json'), 'utf8'));
  expect(identity.node).toBe('n2');
});
