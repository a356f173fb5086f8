/** What every target keeps: a directory, a bucket of an S3-compatible store, and the tests' own. */

import { execFileSync } from 'node:child_process';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createRepository,
  openDirectoryTarget,
  openRepository,
  openS3Target,
  type Target,
} from '../../src/backup/index.ts';
import { forEachParallel } from '../../src/backup/parallel.ts';
import { chunk, code, expectSame, FakeVolume, noise, restored } from './backup-fixtures.ts';
import { MemoryTarget } from './backup-memory-target.ts';
import { type S3Server, startS3 } from './backup-s3-server.ts';

let directory: string;
let s3: S3Server;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'backup-target-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found.toSorted();
}

const kinds: { kind: string; open: () => Promise<Target>; close?: () => Promise<void> }[] = [
  { kind: 'memory', open: async () => new MemoryTarget() },
  { kind: 'directory', open: () => openDirectoryTarget(directory) },
  {
    kind: 'S3',
    open: async () => {
      s3 = await startS3();
      return await openS3Target(s3.options);
    },
    close: () => s3.close(),
  },
];

describe.each(kinds)('a target of kind $kind', ({ open, close }) => {
  let target: Target;
  beforeEach(async () => {
    target = await open();
    // So that a directory is one.
    await target.putIfAbsent('repository.json', Buffer.from('{}'));
  });
  afterEach(async () => {
    target.close();
    await close?.();
  });

  it('returns what was put, and nothing for what was not', async () => {
    await target.put('data/v/1/a', Buffer.from('one'));
    expect(await target.get('data/v/1/a', 100)).toEqual(Buffer.from('one'));
    expect(await target.size('data/v/1/a')).toBe(3);
    expect(await target.get('data/v/1/b', 100)).toBeNull();
    expect(await target.size('data/v/1/b')).toBeNull();
    await target.put('data/v/1/a', Buffer.from('other'));
    expect(await target.get('data/v/1/a', 100)).toEqual(Buffer.from('other'));
    await target.delete('data/v/1/a');
    await target.delete('data/v/1/a');
    expect(await target.get('data/v/1/a', 100)).toBeNull();
    await target.flush();
  });

  it('puts only where nothing is when it is told to', async () => {
    expect(await target.putIfAbsent('backups/v/a', Buffer.from('one'))).toBe(true);
    expect(await target.putIfAbsent('backups/v/a', Buffer.from('two'))).toBe(false);
    expect(await target.get('backups/v/a', 100)).toEqual(Buffer.from('one'));
  });

  it('returns nothing that is longer than it may be', async () => {
    await target.put('data/v/1/long', Buffer.alloc(1000));
    await expect(target.get('data/v/1/long', 999)).rejects.toMatchObject(code('damaged'));
    expect(await target.get('data/v/1/long', 1000)).toHaveLength(1000);
  });

  it('lists all objects of a folder with their lengths, and its folders', async () => {
    const names = ['data/v/1/a', 'data/v/1/b~c', 'data/v/2/d/e', 'data/vv/3/f', 'pins/v/x'];
    for (const [bytes, name] of names.entries()) await target.put(name, Buffer.alloc(bytes));
    expect(await all(target.names('data/v/'))).toEqual(names.slice(0, 3));
    const sizes = await all(target.sizes('data/'));
    expect(new Map(sizes.map(({ bytes, name }) => [name, bytes]))).toEqual(
      new Map(names.slice(0, 4).map((name, bytes) => [name, bytes])),
    );
    expect(await all(target.folders('data/v/'))).toEqual(['1', '2']);
    expect(await all(target.names('nothing/'))).toEqual([]);
    expect(await all(target.folders('nothing/'))).toEqual([]);
  });

  it('takes no name that leads elsewhere', async () => {
    for (const name of [
      '../x',
      '/etc/passwd',
      'data/../../x',
      'data//x',
      '.tmp/x',
      'a\0b',
      '',
      'é',
    ]) {
      await expect(target.get(name, 10)).rejects.toMatchObject(code('bad-input'));
      await expect(target.put(name, Buffer.alloc(1))).rejects.toMatchObject(code('bad-input'));
      await expect(target.delete(name)).rejects.toMatchObject(code('bad-input'));
      await expect(all(target.names(`${name}/`))).rejects.toMatchObject(code('bad-input'));
    }
  });

  it('stops when it is told to', async () => {
    const signal = AbortSignal.abort();
    await expect(target.put('data/v/1/a', Buffer.alloc(1), signal)).rejects.toMatchObject(
      code('cancelled'),
    );
    await expect(all(target.names('data/', signal))).rejects.toMatchObject(code('cancelled'));
  });

  it('holds a repository', async () => {
    await target.delete('repository.json');
    const repository = await createRepository(target, { chunkBytes: chunk });
    const volume = new FakeVolume(20 * chunk);
    noise(9 * chunk, 1).copy(volume.content, chunk);
    const first = await repository.write(volume.source());
    noise(10, 2).copy(volume.content, 5 * chunk);
    const change = { parent: first.entry.id, changed: [{ offset: 5 * chunk, length: 10 }] };
    const second = await repository.write(volume.source({ ...change, at: 1_800_000_001_000 }));
    await repository.remove('v1', [first.entry.id]);
    expect((await repository.sweep('v1')).deletedObjects).toBe(3);
    const again = await openRepository(target);
    expect(await again.list()).toEqual([second.entry]);
    expectSame(await restored(again, 'v1', second.entry.id), volume.content);
    expect((await again.verify('v1', null, { mode: 'quick' })).damaged).toEqual([]);
    await expect(createRepository(target)).rejects.toMatchObject(code('exists'));
  });
});

describe('a directory', () => {
  it('has to be there', async () => {
    await expect(openDirectoryTarget(join(directory, 'no'))).rejects.toMatchObject(
      code('not-found'),
    );
    await expect(openDirectoryTarget('relative')).rejects.toMatchObject(code('bad-input'));
    await writeFile(join(directory, 'file'), '');
    await expect(openDirectoryTarget(join(directory, 'file'))).rejects.toMatchObject(
      code('bad-input'),
    );
    await expect(openRepository(await openDirectoryTarget(directory))).rejects.toMatchObject(
      code('not-found'),
    );
  });

  it('is not written into when its file system is gone', async () => {
    const target = await openDirectoryTarget(directory);
    const repository = await createRepository(target, { chunkBytes: chunk });
    await rename(directory, `${directory}.away`);
    await mkdir(directory);
    try {
      const volume = new FakeVolume(chunk);
      await expect(repository.write(volume.source())).rejects.toMatchObject(code('unavailable'));
      expect(await readdir(directory)).toEqual([]);
    } finally {
      await rm(`${directory}.away`, { recursive: true });
    }
  });

  it('follows no link out of the repository, and hangs on no pipe', async () => {
    const target = await openDirectoryTarget(directory);
    await createRepository(target, { chunkBytes: chunk });
    const outside = await mkdtemp(join(tmpdir(), 'backup-outside-'));
    try {
      await symlink(outside, join(directory, 'data'));
      for (const name of ['data/x', 'data/v/1/x']) {
        await expect(target.put(name, Buffer.alloc(1))).rejects.toMatchObject(code('damaged'));
      }
      await writeFile(join(outside, 'y'), 'kept');
      await expect(target.delete('data/y')).rejects.toMatchObject(code('damaged'));
      expect(await readdir(outside)).toEqual(['y']);
      await symlink(join(outside, 'y'), join(directory, 'link'));
      await expect(target.get('link', 100)).rejects.toMatchObject(code('damaged'));
      execFileSync('mkfifo', [join(directory, 'pipe')]);
      await expect(target.get('pipe', 100)).rejects.toMatchObject(code('damaged'));
      await expect(all(target.names('data/'))).rejects.toMatchObject(code('damaged'));
    } finally {
      await rm(outside, { recursive: true });
    }
  });

  it('leaves nothing half-written where objects are', async () => {
    const target = await openDirectoryTarget(directory);
    await createRepository(target, { chunkBytes: chunk });
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => target.putIfAbsent('backups/v/a', Buffer.from(`${n}`))),
    );
    expect(await readdir(join(directory, '.tmp'))).toEqual([]);
    expect(await all(target.names('backups/'))).toEqual(['backups/v/a']);
    await truncate(join(directory, 'repository.json'), 10);
    await expect(openRepository(target)).rejects.toMatchObject(code('damaged'));
  });
});

describe('a bucket', () => {
  beforeEach(async () => {
    s3 = await startS3();
  });
  afterEach(() => s3.close());

  it('is tried again while the store is busy', async () => {
    const target = await openS3Target(s3.options);
    let refusals = 0;
    s3.refuse = () => {
      refusals += 1;
      return refusals % 3 === 0 ? undefined : { status: 503, code: 'SlowDown' };
    };
    await target.put('data/v/1/a', Buffer.from('one'));
    expect(await target.get('data/v/1/a', 10)).toEqual(Buffer.from('one'));
    expect(s3.requests.length).toBe(6);
    s3.refuse = () => ({ status: 503, code: 'SlowDown' });
    await expect(target.get('data/v/1/a', 10)).rejects.toMatchObject(code('unavailable'));
    target.close();
  });

  it('says what is wrong with what it was given', async () => {
    const refused = await openS3Target(s3.options);
    s3.refuse = () => ({ status: 403, code: 'SignatureDoesNotMatch' });
    await expect(refused.get('a', 10)).rejects.toMatchObject(code('not-allowed'));
    s3.refuse = () => ({ status: 507, code: 'InsufficientStorage' });
    await expect(refused.put('a', Buffer.alloc(1))).rejects.toMatchObject(code('no-space'));
    s3.refuse = () => undefined;
    const elsewhere = await openS3Target({ ...s3.options, bucket: 'missing' });
    await expect(elsewhere.get('a', 10)).rejects.toMatchObject(code('not-found'));
    const closed = await openS3Target({
      ...s3.options,
      endpoint: 'http://127.0.0.1:1',
      attempts: 1,
    });
    await expect(closed.get('a', 10)).rejects.toMatchObject(code('unavailable'));
    for (const bad of [{ bucket: 'A b' }, { prefix: '../x' }, { endpoint: 'nonsense' }]) {
      await expect(openS3Target({ ...s3.options, ...bad })).rejects.toMatchObject(
        code('bad-input'),
      );
    }
    for (const target of [refused, elsewhere, closed]) target.close();
  });

  it('is listed in pages of 1,000 names, and only below its prefix', async () => {
    const target = await openS3Target(s3.options);
    const names = Array.from({ length: 1010 }, (_, n) => `data/v/${n}`);
    await forEachParallel(names, 8, (name) => target.put(name, Buffer.alloc(1)));
    const others = await openS3Target({ ...s3.options, prefix: 'site' });
    await others.put('data/b', Buffer.alloc(1));
    expect(await all(target.names('data/'))).toEqual(names.toSorted());
    expect(s3.requests.filter((line) => line.includes('list-type=2'))).toHaveLength(2);
    target.close();
    others.close();
  });

  it('decides by a condition who was first, where it knows conditions', async () => {
    const target = await openS3Target(s3.options);
    // Between the look and the put another host was faster.
    s3.refuse = ({ headers, method }) =>
      method === 'PUT' && headers['if-none-match'] === '*'
        ? { status: 412, code: 'PreconditionFailed' }
        : undefined;
    expect(await target.putIfAbsent('backups/v/a', Buffer.from('one'))).toBe(false);
    expect(await target.size('backups/v/a')).toBeNull();
    target.close();
  });

  it('is reached over TLS with an authority of its own, and not without', async () => {
    const [key, cert] = [join(directory, 'key'), join(directory, 'cert')];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=s3',
    ];
    const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
    execFileSync('openssl', [...request, ...files], { stdio: 'ignore' });
    const certificate = await readFile(cert, 'utf8');
    const tls = await startS3({ key: await readFile(key, 'utf8'), cert: certificate });
    try {
      const trusting = await openS3Target({ ...tls.options, ca: certificate });
      await trusting.put('data/a', Buffer.from('one'));
      expect(await trusting.get('data/a', 10)).toEqual(Buffer.from('one'));
      const wary = await openS3Target({ ...tls.options, attempts: 1 });
      await expect(wary.get('data/a', 10)).rejects.toMatchObject(code('unavailable'));
      for (const target of [trusting, wary]) target.close();
    } finally {
      await tls.close();
    }
  });
});
