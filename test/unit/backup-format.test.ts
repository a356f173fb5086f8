/** What comes out of a repository is taken from nobody on trust. */
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boxOverheadBytes, digestOf, openBox, sealBox } from '../../src/backup/box.ts';
import { manifestName, parseManifestName } from '../../src/backup/entry.ts';
import { openRepository } from '../../src/backup/index.ts';
import { Keys } from '../../src/backup/keys.ts';
import { isObjectName } from '../../src/backup/target.ts';
import { HyperscaleError, isHyperscaleError } from '../../src/errors.ts';
import {
  chunk,
  code,
  FakeVolume,
  key,
  memoryRepository,
  noise,
  restored,
} from './backup-fixtures.ts';

const keys = await Keys.derive(key, Buffer.alloc(16, 1));
const [naming, sealing] = [await keys.naming('v'), await keys.sealing('data/v/s/')];
const name = 'data/v/s/a';

async function seal(content: Buffer, encrypted: boolean): Promise<Buffer> {
  const digest = await digestOf('chunk', content, encrypted ? naming : null);
  const boxKey = encrypted ? sealing : null;
  return await sealBox({ kind: 'chunk', content, digest, name, key: boxKey, compress: true });
}

async function open(box: Buffer, encrypted: boolean, maxBytes = 1 << 20): Promise<Buffer> {
  const used = encrypted ? { key: sealing, namingKey: naming } : { key: null, namingKey: null };
  return await openBox({ kind: 'chunk', box, name, maxBytes, ...used });
}

/** Some bits of a compressed frame say nothing; what matters is that nobody gets other content. */
async function expectRefusedOrSame(opened: Promise<Buffer>, content: Buffer): Promise<void> {
  const result = await opened.catch((error: unknown) => error);
  if (Buffer.isBuffer(result)) expect(result.equals(content)).toBe(true);
  else expect(isHyperscaleError(result, 'damaged')).toBe(true);
}

describe.each([false, true])('a stored object, encrypted: %s', (encrypted) => {
  it('opens to what was sealed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), fc.nat(3), async (bytes, times) => {
        const content = Buffer.concat(Array.from({ length: times }, () => bytes));
        const box = await seal(content, encrypted);
        expect(await open(box, encrypted)).toEqual(content);
        expect(box.length).toBeLessThanOrEqual(content.length + boxOverheadBytes);
      }),
      { numRuns: 50 },
    );
  });

  it('does not open when any bit of it is another one, or when it is cut or longer', async () => {
    for (const content of [noise(100, 1), Buffer.alloc(5000, 'compresses')]) {
      const box = await seal(content, encrypted);
      for (let bit = 0; bit < box.length * 8; bit += 7) {
        const other = Buffer.from(box);
        other[bit >> 3]! ^= 1 << (bit & 7);
        await expectRefusedOrSame(open(other, encrypted), content);
      }
      for (const cut of [0, 3, 43, 50, box.length - 1]) {
        await expect(open(box.subarray(0, cut), encrypted)).rejects.toMatchObject(code('damaged'));
      }
      const longer = Buffer.concat([box, Buffer.alloc(1)]);
      await expectRefusedOrSame(open(longer, encrypted), content);
      await expect(open(box, !encrypted)).rejects.toMatchObject(code('damaged'));
    }
  });

  it('that would become larger than it may is not unpacked', async () => {
    const box = await seal(Buffer.alloc(10_000), encrypted);
    await expect(open(box, encrypted, 9999)).rejects.toMatchObject(code('damaged'));
  });
});

describe('a stored object', () => {
  it('that lies about its length bursts nothing', async () => {
    const bomb = zstdCompressSync(Buffer.alloc(64 << 20));
    const box = await seal(Buffer.alloc(1000), false);
    const lie = Buffer.concat([box.subarray(0, 44), bomb]);
    const before = process.memoryUsage().arrayBuffers;
    await expect(open(lie, false)).rejects.toMatchObject(code('damaged'));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
  });

  it('that is encrypted opens under its own name only', async () => {
    const box = await seal(Buffer.from('content'), true);
    const used = { kind: 'chunk' as const, box, maxBytes: 100, key: sealing, namingKey: naming };
    expect(await openBox({ ...used, name })).toEqual(Buffer.from('content'));
    await expect(openBox({ ...used, name: `${name}b` })).rejects.toMatchObject(code('damaged'));
    await expect(openBox({ ...used, name, kind: 'page' })).rejects.toMatchObject(code('damaged'));
    const digest = '0'.repeat(64);
    await expect(openBox({ ...used, name, digest })).rejects.toMatchObject(code('damaged'));
  });

  it('of another version than its repository is damaged', async () => {
    const box = await seal(Buffer.from('x'), false);
    box[4] = 2;
    await expect(open(box, false)).rejects.toMatchObject(code('damaged'));
  });
});

describe('the name of a manifest', () => {
  const text = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
  const entry = fc.record({
    ...{ volume: text, name: text, volumeName: text },
    ...{
      at: fc.nat(9e13),
      sizeBytes: fc.integer({ min: 1, max: 2 ** 50 }),
      storedBytes: fc.nat(2 ** 50),
    },
    id: fc.stringMatching(/^[0-9a-f]{32}$/),
  });

  it('says all that a list shows, and is a name that every target takes', () => {
    fc.assert(
      fc.property(entry, (one) => {
        expect(parseManifestName(manifestName(one))).toEqual(one);
        expect(isObjectName(manifestName(one))).toBe(true);
      }),
    );
  });

  it('is not taken from anything else', () => {
    const good = `backups/v/01800000000000~${'a'.repeat(32)}~10~5~b~data`;
    expect(parseManifestName(good)).toBeDefined();
    const bad = [
      ...[
        good.replace('01800', '1800'),
        good.replace('~10~', '~1e1~'),
        good.replace('~10~', '~-1~'),
      ],
      ...[
        `${good}~x`,
        good.replace('~b~', '~../b~'),
        good.replace('/v/', '/../'),
        good.replace('aaa', 'AAA'),
      ],
      ...[
        good.replace('backups', 'pins'),
        `${good}/x`,
        good.replace('~10~', `~${'9'.repeat(20)}~`),
        'backups/v/',
      ],
    ];
    for (const one of bad) expect(parseManifestName(one)).toBeUndefined();
  });
});

describe('a repository in which an enemy wrote', () => {
  const enemyFiles = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((json) => Buffer.from(json)),
    fc.constant(Buffer.from('{"format":"hyperscale-backup","version":1,"id":"')),
  );

  it('fails with an error that says so, never with another', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(8 * chunk);
    noise(8 * chunk, 1).copy(volume.content);
    const { entry } = await repository.write(volume.source());
    const objects = new Map(target.objects);
    await fc.assert(
      fc.asyncProperty(enemyFiles, fc.nat(), async (content, which) => {
        const names = [...objects.keys()];
        const changed = names[which % names.length]!;
        target.objects.set(changed, content);
        try {
          const again = await openRepository(target);
          const found = await restored(again, 'v1', entry.id);
          expect(found.equals(volume.content)).toBe(true);
        } catch (error) {
          if (!isHyperscaleError(error, 'damaged', 'old-software', 'bad-input')) throw error;
        } finally {
          target.objects.set(changed, objects.get(changed)!);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is not opened when its description was changed', async () => {
    const { target } = await memoryRepository({ key });
    const file = JSON.parse(target.objects.get('repository.json')!.toString('utf8')) as object;
    const changes = [
      ...[{ chunkBytes: 8192 }, { id: 'f'.repeat(32) }, { salt: 'f'.repeat(32) }, { salt: null }],
      ...[
        { check: '' },
        { chunkBytes: 2 ** 40 },
        { id: '../..' },
        { format: 'other' },
        { salt: 5 },
      ],
    ];
    for (const change of changes) {
      target.objects.set('repository.json', Buffer.from(JSON.stringify({ ...file, ...change })));
      await expect(openRepository(target, key)).rejects.toThrow(HyperscaleError);
    }
    target.objects.set('repository.json', Buffer.from(JSON.stringify({ ...file, version: 2 })));
    await expect(openRepository(target, key)).rejects.toMatchObject(code('old-software'));
  });
});
