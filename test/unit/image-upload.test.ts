/** Files that come in: through the API, and into the pool. */
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ImageService, ImportRequest } from '../../src/api/image-service.ts';
import { run } from '../../src/cli/program.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { sha256In } from '../../src/image/checksum.ts';
import { PoolRoom } from '../../src/image/room.ts';
import { ImportSlots } from '../../src/image/slots.ts';
import { Uploads } from '../../src/image/upload.ts';
import { FakeService, startApi, volumeRecord } from './api-fake-service.ts';

const mib = 2 ** 20;
const pool = mkdtempSync(join(tmpdir(), 'hs-upload-'));
afterAll(() => rmSync(pool, { recursive: true }));
const imports = join(pool, 'imports');

let freeBytes: number;
const space = async () => ({ totalBytes: 1000 * mib, freeBytes });
const signal = new AbortController().signal;
const wanted = { mostBytes: 100 * mib, sha256: null };

beforeEach(() => {
  freeBytes = 900 * mib;
});

describe('a file that comes in', () => {
  it('is kept with its checksum, and its zeros take no space', async () => {
    const uploads = await Uploads.open(pool, space);
    const content = Buffer.concat([
      Buffer.alloc(8 * mib),
      Buffer.alloc(100, 1),
      Buffer.alloc(5000),
    ]);
    const pieces = [content.subarray(0, 8 * mib), content.subarray(8 * mib)];
    const sha256 = createHash('sha256').update(content).digest('hex');
    const upload = await uploads.receive(Readable.from(pieces), { ...wanted, sha256 }, signal);
    expect(upload).toMatchObject({ bytes: content.length, sha256 });
    expect(readFileSync(upload.path).equals(content)).toBe(true);
    expect(statSync(upload.path).blocks * 512).toBeLessThan(mib);
    await uploads.remove(upload);
    expect(readdirSync(imports)).toEqual([]);
  });

  it('is gone when it is too long, another one, or given up', async () => {
    const uploads = await Uploads.open(pool, space);
    const body = () => Readable.from([Buffer.alloc(mib, 1), Buffer.alloc(mib, 2)]);
    const gone = new AbortController();
    const stream = new PassThrough();
    stream.write(Buffer.alloc(10, 3));
    setTimeout(() => gone.abort(), 50);
    const broken = new PassThrough();
    broken.write(Buffer.alloc(10, 3));
    setTimeout(() => broken.destroy(new Error('connection reset')), 50);
    const left = new PassThrough();
    left.write(Buffer.alloc(10, 3));
    setTimeout(() => left.destroy(), 50);
    const failures = await Promise.allSettled([
      uploads.receive(body(), { ...wanted, mostBytes: mib + 1 }, signal),
      uploads.receive(body(), { ...wanted, sha256: '0'.repeat(64) }, signal),
      uploads.receive(stream, wanted, gone.signal),
      uploads.receive(broken, wanted, signal),
      uploads.receive(left, wanted, signal),
      uploads.receive(body(), wanted, AbortSignal.abort()),
    ]);
    expect(failures.map((f) => (f.status === 'rejected' ? f.reason.code : f.value))).toEqual([
      ...['bad-input', 'bad-input', 'cancelled', 'cancelled', 'cancelled', 'cancelled'],
    ]);
    expect(readdirSync(imports)).toEqual([]);
  });

  it('is not taken into a pool that is nearly full, or becomes it', async () => {
    const uploads = await Uploads.open(pool, space);
    async function* endless() {
      for (let count = 0; count < 1000; count += 1) {
        freeBytes -= 10 * mib;
        yield Buffer.alloc(mib, 1);
      }
    }
    const more = { ...wanted, mostBytes: 1000 * mib };
    await expect(uploads.receive(Readable.from(endless()), more, signal)).rejects.toMatchObject({
      code: 'no-space',
    });
    await expect(uploads.receive(Readable.from(['x']), more, signal)).rejects.toMatchObject({
      code: 'no-space',
    });
    expect(readdirSync(imports)).toEqual([]);
  });

  it('does not survive a restart', async () => {
    mkdirSync(join(imports, 'odd'), { recursive: true });
    writeFileSync(join(imports, 'a.upload'), 'x');
    await Uploads.open(pool, space);
    expect(readdirSync(imports)).toEqual([]);
  });
});

describe('work that writes into the pool', () => {
  it('ends when there is no room any more, and says why', async () => {
    const work = new PoolRoom(space).during(signal, async (still) => {
      freeBytes = 10 * mib;
      await sleep(20_000, null, { signal: still });
    });
    await expect(work).rejects.toMatchObject({ code: 'no-space' });
  });

  it('is what it is while there is room', async () => {
    expect(await new PoolRoom(space).during(signal, async () => 7)).toBe(7);
    const failing = new PoolRoom(space).during(signal, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
  });

  it('is bounded in number, and one has a name', async () => {
    const slots = new ImportSlots();
    const over = Promise.withResolvers<void>();
    const all = ['a', 'b', 'c', 'd'].map((name) => slots.during(name, () => over.promise));
    await expect(slots.during('a', async () => 1)).rejects.toMatchObject({ code: 'conflict' });
    await expect(slots.during('e', async () => 1)).rejects.toMatchObject({ code: 'unavailable' });
    over.resolve();
    await Promise.all(all);
    expect(await slots.during('a', async () => 1)).toBe(1);
  });
});

it('a checksum is sha256 and nothing else', () => {
  expect(sha256In(`SHA256:${'AB'.repeat(32)}`)).toBe('ab'.repeat(32));
  for (const text of [
    '',
    'sha256:',
    'ab'.repeat(32),
    `md5:${'ab'.repeat(16)}`,
    `sha256:${'g'.repeat(64)}`,
  ]) {
    expect(() => sha256In(text)).toThrow('is not valid');
  }
});

describe('the API and hscli', () => {
  let api: Awaited<ReturnType<typeof startApi>>;
  const service = new FakeService();
  let received: { request: ImportRequest; content: Buffer }[] = [];
  let refuse: HyperscaleError | null = null;

  const images: ImageService = {
    list: () => [...service.records.values()].filter((v) => v.role === 'image'),
    image: (name) => {
      const found = images.list().find((v) => v.name === name || v.id === name);
      if (found === undefined) throw new HyperscaleError('not-found', `no image ${name}`);
      return found;
    },
    import: async (wishes, body) => {
      if (refuse !== null) throw refuse;
      received.push({ request: wishes, content: await buffer(body) });
      const { as, name, policy } = wishes;
      const file = { format: 'raw' as const, bytes: 5, sha256: 'ab'.repeat(32) };
      const plain = volumeRecord({ name, policy, file });
      const volume = as === 'image' ? { ...plain, role: 'image' as const } : plain;
      service.records.set(volume.id, volume);
      return { volume, notes: ['A note.'] };
    },
    delete: async (name) => {
      service.records.delete(images.image(name).id);
    },
  };

  beforeAll(async () => {
    service.images = images;
    api = await startApi(service);
  });
  afterAll(() => api.stop());
  beforeEach(() => {
    service.records.clear();
    received = [];
    refuse = null;
  });

  async function hscli(stdin: Readable, ...args: string[]) {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const io = { stdout, stderr, stdin, env: { HYPERSCALE_SOCKET: api.socket }, signal };
    const status = await run(args, io);
    stdout.end();
    stderr.end();
    return { status, out: String(await buffer(stdout)), error: String(await buffer(stderr)) };
  }

  /** A request with a body of any kind. */
  async function post(path: string, type: string, body: string) {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
    const headers = { 'content-type': type };
    const sent = request({ socketPath: api.socket, method: 'POST', path, headers }, (response) => {
      buffer(response)
        .then((text) => resolve({ status: response.statusCode ?? 0, text: String(text) }))
        .catch(reject);
    });
    sent.on('error', reject);
    sent.end(body);
    return promise;
  }

  it('take a file of any length, and all wishes', async () => {
    const content = Buffer.alloc(3 * mib, 'content');
    const half = Readable.from([content.subarray(0, mib), content.subarray(mib)]);
    const sum = createHash('sha256').update(content).digest('hex');
    const args = ['--name', 'img', '--format', 'VHD', '--policy', 'gold', '--max-size', '2G'];
    const { status, out } = await hscli(
      half,
      'image',
      'import',
      '-',
      ...args,
      '--checksum',
      `sha256:${sum}`,
    );
    expect([status, out]).toEqual([0, expect.stringContaining('Image img')]);
    expect(out).toContain('A note.');
    expect(received).toMatchObject([
      {
        request: {
          ...{ name: 'img', as: 'image', format: 'vpc', sha256: sum, maxSizeBytes: 2 * 2 ** 30 },
          policy: { name: 'Gold' },
        },
      },
    ]);
    expect(received[0]?.content.equals(content)).toBe(true);
    expect((await hscli(Readable.from([]), 'image', 'list')).out).toContain('img');
    expect((await hscli(Readable.from([]), 'image', 'show', 'img')).out).toContain('sha256:abab');
    const deleted = await hscli(Readable.from([]), 'image', 'delete', 'img', '--yes');
    expect(deleted.out).toContain('deleted');
    expect((await hscli(Readable.from([]), 'image', 'show', 'img')).status).toBe(3);
  });

  it('make a volume of a file', async () => {
    const file = join(pool, 'my disk.qcow2');
    writeFileSync(file, 'adopt me');
    const { status, out } = await hscli(Readable.from([]), 'volume', 'adopt', file);
    expect([status, out]).toEqual([0, expect.stringContaining('Volume my-disk')]);
    expect(received).toMatchObject([{ request: { as: 'volume', policy: { name: 'Silver' } } }]);
    expect(String(received[0]?.content)).toBe('adopt me');
  });

  it('say why a file is refused, however much of it is still to come', async () => {
    refuse = new HyperscaleError('bad-input', 'it is evil', { hint: 'Do not.' });
    const endless = () =>
      Readable.from(
        (async function* () {
          for (;;) {
            await sleep(1);
            yield Buffer.alloc(256 * 1024, 1);
          }
        })(),
      );
    for (let time = 0; time < 5; time += 1) {
      const { status, error } = await hscli(endless(), 'image', 'import', '-', '--name', 'x');
      expect([status, error]).toEqual([2, expect.stringContaining('it is evil')]);
      const named = await hscli(endless(), 'image', 'import', '-', '--name', 'a b');
      expect([named.status, named.error]).toEqual([2, expect.stringContaining('a b')]);
    }
  });

  it('refuse wishes that cannot be met before a file is opened', async () => {
    const none = Readable.from([]);
    const status = async (...args: string[]) =>
      (await hscli(none, 'image', 'import', ...args)).status;
    expect(await status('-')).toBe(2);
    expect(await status(join(pool, 'none'))).toBe(3);
    expect(await status(pool)).toBe(2);
    expect(await status('ftp://127.0.0.1/x')).toBe(2);
    expect(await status('-', '--name', 'x', '--checksum', 'md5:1')).toBe(2);
    expect(await status('-', '--name', 'x', '--format', 'luks')).toBe(2);
    expect(await status('-', '--name', 'x', '--policy', 'none')).toBe(2);
    expect(await status('-', '--name', 'x', '--max-size', 'much')).toBe(2);
    expect(received).toEqual([]);
    const exported = await hscli(none, 'image', 'export', 'x', '--to', '-', '--format', 'qcow2');
    expect(exported.status).toBe(3);
  });

  it('take files only as files, and JSON only where it belongs', async () => {
    const json = await post('/v1/images?name=x', 'application/json', '{}');
    expect(json).toMatchObject({ status: 400, text: expect.stringContaining('octet-stream') });
    const bare = await post('/v1/volumes', 'application/octet-stream', '{}');
    expect(bare.status).toBe(415);
    const odd = await post('/v1/images?name=x&nme=y', 'application/octet-stream', 'x');
    expect(odd).toMatchObject({ status: 400, text: expect.stringContaining('nme') });
  });
});
