/** Files that become images and volumes, and volumes that become files. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  createReadStream,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import type { LabNode } from '../../lab/node.ts';
import type { ImageAnswer } from '../../src/api/image-schemas.ts';
import { mib, sharedCluster } from './fixture.ts';
import { hscli, run } from './fixture-run.ts';
import { giveSmallPool } from './fixture-small-pool.ts';
import { TestVolume } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'], start: false });

let directory: string;
let disk: string;
const at = (name: string) => join(directory, name);

function qemuImg(...args: string[]): string {
  return execFileSync('qemu-img', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

beforeAll(async () => {
  giveSmallPool(cluster, 'n2', 128);
  await cluster.lab.start('n1');
  directory = cluster.lab.directory;
  disk = at('disk.raw');
  const random = createHash('sha512').update('content').digest();
  const content = Buffer.alloc(24 * mib);
  for (const offset of [0, 3 * mib, 17 * mib]) {
    for (let i = 0; i < 2 * mib; i += random.length) random.copy(content, offset + i);
  }
  writeFileSync(disk, content);
  for (const format of ['qcow2', 'vmdk', 'vhdx']) {
    qemuImg('convert', '-O', format, disk, at(`disk.${format}`));
  }
});

const n1 = (): LabNode => cluster.node('n1');

/** What is left in the pool of files on their way in. */
function uploads(node = n1()): string[] {
  return readdirSync(join(node.poolDirectory, 'imports'));
}

/** Ids of all records that there are, of images too. */
async function records(): Promise<string[]> {
  const list = async (path: string) =>
    Object.values(await n1().api.call<Record<string, { id: string }[]>>('GET', path)).flat();
  const all = await Promise.all(['/v1/volumes?all=true', '/v1/images'].map(list));
  return all.flat().map(({ id }) => id);
}

/** Of what has layer files in a pool, what is new since then: copies of older volumes may move. */
function newIn(before: readonly string[], node = n1()): string[] {
  const volumes = join(node.poolDirectory, 'volumes');
  const names = readdirSync(volumes, { recursive: true, encoding: 'utf8' });
  const ids = names.filter((name) => name.endsWith('.qcow2')).map(dirname);
  return ids.filter((id) => !before.includes(id));
}

async function images(): Promise<string[]> {
  const path = '/v1/images';
  const { images } = await n1().api.call<{ images: ImageAnswer[] }>('GET', path);
  return images.map(({ name }) => name);
}

/** Fails unless the volume shows what the file does. */
async function expectSame(name: string, file: string, node = 'n1'): Promise<void> {
  const volume = new TestVolume(cluster.lab, name, '');
  const { uri } = await volume.attach(node);
  expect(qemuImg('compare', '-f', 'raw', '-F', 'raw', uri, file)).toContain('identical');
  await volume.detach(node);
}

test('a file of every format becomes an image that volumes show, on every node', async () => {
  const imported = ['raw', 'qcow2', 'vmdk', 'vhdx'].map(async (format) => {
    const file = at(`disk.${format}`);
    const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
    const args = ['--name', format, '--checksum', `sha256:${sum}`, '--policy', 'Bronze'];
    const { image, notes } = await n1().hscli<{ image: ImageAnswer; notes: string[] }>(
      'image',
      'import',
      file,
      ...args,
    );
    expect(image).toMatchObject({
      ...{ name: format, format, state: 'ready', sizeBytes: 24 * mib, clones: 0 },
      ...{ checksum: `sha256:${sum}`, fileBytes: statSync(file).size },
    });
    // Zeros take no space.
    expect(image.bytes).toBeLessThan(9 * mib);
    expect(notes).toEqual([]);
    const body = { name: `of-${format}`, source: { volume: format } };
    await n1().api.call('POST', '/v1/volumes', body);
    await expectSame(`of-${format}`, disk, format === 'raw' ? 'n2' : 'n1');
  });
  await Promise.all(imported);
  await expect.poll(() => uploads()).toEqual([]);
  const listed = await n1().hscli<{ images: ImageAnswer[] }>('image', 'list');
  expect(listed.images.map((i) => [i.name, i.clones])).toEqual(
    ['qcow2', 'raw', 'vhdx', 'vmdk'].map((name) => [name, 1]),
  );
  // Nobody writes an image, and what was made from one stays when it goes.
  expect((await hscli(n1(), 'volume', 'attach', 'raw')).status).toBe(5);
  expect((await hscli(n1(), 'image', 'delete', 'raw', '--yes')).status).toBe(0);
  expect(await images()).not.toContain('raw');
  await expectSame('of-raw', disk);
  // What was not used for the longest time goes first: not what a volume was made of just now.
  const body = { name: 'of-vhdx-2', source: { volume: 'vhdx' } };
  await n1().api.call('POST', '/v1/volumes', body);
  const prune = ['image', 'prune', '--max-count', '2', '--keep', 'qcow2'];
  expect((await hscli(n1(), ...prune)).stdout).toContain('Would delete 1 image');
  const { images: gone } = await n1().hscli<{ images: ImageAnswer[] }>(...prune, '--yes');
  expect(gone.map(({ name }) => name)).toEqual(['vmdk']);
  expect(await images()).toEqual(['qcow2', 'vhdx']);
  expect((await hscli(n1(), 'image', 'prune')).status).toBe(2);
  expect((await hscli(n1(), 'image', 'prune', '--max-count', '-1')).status).toBe(2);
  await expectSame('of-vmdk', disk);
});

test('what comes from standard input or a server becomes an image too', async () => {
  const command = [join(binDirectory, 'hscli'), 'image', 'import', '-', '--json'];
  const env = { ...process.env, HYPERSCALE_SOCKET: n1().socketPath };
  const stdio = [openSync(at('disk.qcow2'), 'r'), 'pipe', 'inherit'] as const;
  const child = spawn(
    command[0] ?? '',
    [...command.slice(1), '--name', 'piped', '--policy', 'Bronze'],
    {
      stdio: [...stdio],
      env,
    },
  );
  expect(await once(child, 'close')).toEqual([0, null]);

  const server = createServer((request, response) => {
    if (request.url === '/served.qcow2') createReadStream(at('disk.qcow2')).pipe(response);
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  await n1().hscli('image', 'import', `${url}/served.qcow2`, '--policy', 'Bronze');
  const missing = await hscli(n1(), 'image', 'import', `${url}/none`);
  expect([missing.status, missing.stderr]).toEqual([6, expect.stringContaining('404')]);
  server.close();
  const shown = await Promise.all(
    ['piped', 'served'].map((name) => n1().hscli<ImageAnswer>('image', 'show', name)),
  );
  for (const image of shown) expect(image).toMatchObject({ state: 'ready', format: 'qcow2' });
});

test('what is refused, cancelled or too large leaves nothing', async () => {
  const before = { records: await records(), images: await images() };
  const refused = async (...args: string[]) => {
    const { status, stderr } = await hscli(n1(), 'image', 'import', ...args);
    return `${status} ${stderr}`;
  };
  const wrong = `sha256:${'0'.repeat(64)}`;
  expect(await refused(disk, '--name', 'x', '--checksum', wrong)).toMatch(/^2 .*checksum/s);
  qemuImg('create', '-f', 'qcow2', '-b', '/etc/shadow', '-F', 'raw', at('evil.qcow2'), '8M');
  expect(await refused(at('evil.qcow2'))).toMatch(/^2 .*backing file/s);
  expect(await refused(disk, '--format', 'qcow2')).toMatch(/^2 .*not qcow2/s);
  expect(await refused(disk, '--max-size', '8M')).toMatch(/^2 .*(longer|most)/s);
  expect(await refused(disk, '--name', 'qcow2')).toMatch(/^5 .*already/s);
  expect(await refused(disk, '--name', 'a b')).toMatch(/^2 /);
  expect(await refused(at('nowhere'))).toMatch(/^3 /);

  // Ctrl-C while the daemon waits for more.
  const env = { ...process.env, HYPERSCALE_SOCKET: n1().socketPath };
  const program = join(binDirectory, 'hscli');
  const child = spawn(program, ['image', 'import', '-', '--name', 'x'], { env });
  // It may be gone before it has read all of this.
  child.stdin.on('error', () => undefined);
  child.stdin.write(readFileSync(disk).subarray(0, mib));
  await expect.poll(() => uploads()).toHaveLength(1);
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([130, null]);

  await expect.poll(() => uploads()).toEqual([]);
  await expect.poll(images).toEqual(before.images);
  await expect.poll(() => newIn(before.records)).toEqual([]);
});

test('a pool that would become full takes no image, and has its space back', async () => {
  const n2 = cluster.node('n2');
  const before = await records();
  const big = at('large.raw');
  writeFileSync(big, Buffer.alloc(160 * mib, 'hyperscale'));
  // One is too large when it comes, the other one only when it is unpacked.
  qemuImg('convert', '-c', '-O', 'qcow2', big, at('packed.qcow2'));
  expect(statSync(at('packed.qcow2')).size).toBeLessThan(8 * mib);
  for (const file of [big, at('packed.qcow2')]) {
    const { status, stderr } = await hscli(n2, 'image', 'import', file, '--policy', 'Bronze');
    expect([status, stderr]).toEqual([6, expect.stringMatching(/full|space/)]);
    await expect.poll(() => uploads(n2)).toEqual([]);
    await expect.poll(() => newIn(before, n2)).toEqual([]);
    const spares = () => readdirSync(join(n2.poolDirectory, 'spares'));
    await expect.poll(() => spares().filter((name) => name.endsWith('.tmp'))).toEqual([]);
  }
});

test('what is deleted while it is imported, or whose daemon dies, leaves nothing', async () => {
  const before = await records();
  const big = at('big.raw');
  writeFileSync(big, Buffer.alloc(160 * mib, 'hyperscale'));
  const importing = () => hscli(n1(), 'image', 'import', big, '--policy', 'Bronze');
  const deleted = importing();
  const state = async () => {
    const { body } = await n1().api.request<{ images: ImageAnswer[] }>('GET', '/v1/images');
    return body.images.find(({ name }) => name === 'big')?.state;
  };
  const begun = () => expect.poll(state, { interval: 5, timeout: 60_000 }).toBe('importing');
  await begun();
  await n1().api.call('DELETE', '/v1/images/big');
  expect(await deleted).toMatchObject({ status: 5, stderr: expect.stringContaining('deleted') });
  await expect.poll(() => newIn(before)).toEqual([]);
  const running = importing();
  await begun();
  await n1().killDaemon();
  expect((await running).status).not.toBe(0);
  await n1().start();
  await expect.poll(images).not.toContain('big');
  await expect.poll(() => newIn(before)).toEqual([]);
  await expect.poll(() => uploads()).toEqual([]);
});

test('a file becomes a volume, and a volume a file', async () => {
  const made = await n1().hscli<{ volume: { sizeBytes: number; policy: { name: string } } }>(
    'volume',
    'adopt',
    at('disk.vhdx'),
    ...['--name', 'adopted', '--policy', 'Silver'],
  );
  expect(made.volume).toMatchObject({ sizeBytes: 24 * mib, policy: { name: 'Silver' } });
  await expectSame('adopted', disk, 'n2');
  // What is written since is in the file, also while the volume is in use.
  const { uri } = await n1().hscli<{ uri: string }>('volume', 'attach', 'adopted');
  execFileSync('qemu-io', ['-f', 'raw', uri, '-c', 'write -P 9 8M 1M', '-c', 'flush']);
  for (const format of ['raw', 'qcow2']) {
    const file = at(`exported.${format}`);
    const args = ['volume', 'export', 'adopted', '--to', file, '--format', format];
    expect(await n1().hscli(...args)).toMatchObject({ to: file, format, sizeBytes: 24 * mib });
    expect(qemuImg('compare', '-f', 'raw', '-F', format, uri, file)).toContain('identical');
    expect((await hscli(n1(), ...args)).status).toBe(5);
  }
  expect(statSync(at('exported.raw')).blocks * 512).toBeLessThan(10 * mib);
  const piped = execFileSync(
    join(binDirectory, 'hscli'),
    ['volume', 'export', 'adopted', '--to', '-'],
    { env: { ...process.env, HYPERSCALE_SOCKET: n1().socketPath }, maxBuffer: 64 * mib },
  );
  expect(piped.equals(readFileSync(at('exported.raw')))).toBe(true);
  // Whoever reads the output ends: that is told, and the clone that is read goes all the same.
  const pipe = 'set -o pipefail; "$0" volume export adopted --to - | head -c 1 > /dev/null';
  const env = { HYPERSCALE_SOCKET: n1().socketPath };
  const cut = await run(['bash', '-c', pipe, join(binDirectory, 'hscli')], env);
  expect(cut).toMatchObject({ status: 130, stderr: expect.stringContaining('ended before') });
  const busy = await hscli(n1(), 'volume', 'release', 'adopted', '--to', at('r.raw'), '--yes');
  expect([busy.status, existsSync(at('r.raw'))]).toEqual([5, false]);
  await n1().hscli('volume', 'detach', 'adopted');
  await n1().hscli('volume', 'release', 'adopted', '--to', at('r.raw'), '--yes');
  expect(readFileSync(at('r.raw')).equals(piped)).toBe(true);
  // Its files go in the background, and those of the clones that it was read through.
  const left = async () => {
    const path = '/v1/volumes';
    const { volumes } = await n1().api.call<{ volumes: { name: string }[] }>('GET', path);
    return volumes.map(({ name }) => name).filter((name) => /adopt|export/.test(name));
  };
  await expect.poll(left).toEqual([]);
  expect(existsSync(at('disk.vhdx'))).toBe(true);
});
