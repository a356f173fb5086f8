/** Writing and reading of backups: what is read, stored, sent, continued and given up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createRepository, openRepository, type WriteProgress } from '../../src/backup/index.ts';
import { Schedule } from '../../src/backup/pace.ts';
import {
  chunk,
  code,
  expectSame,
  FakeVolume,
  key,
  memoryRepository,
  noise,
  restore,
  restored,
} from './backup-fixtures.ts';
import { failFrom, MemoryTarget } from './backup-memory-target.ts';

const later = 1_800_000_001_000;

function dataNames(target: MemoryTarget): string[] {
  return [...target.objects.keys()].filter((name) => name.startsWith('data/'));
}

describe('a backup', () => {
  it('reads only what changed', async () => {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(3000 * chunk);
    noise(50 * chunk, 1).copy(volume.content, 900 * chunk);
    const first = await repository.write(volume.source());
    expect(first.readBytes).toBe(3000 * chunk);
    volume.reads.length = 0;
    noise(10, 2).copy(volume.content, 1500 * chunk - 5);
    noise(chunk, 3).copy(volume.content, 7 * chunk);
    const changed = [
      { offset: 1500 * chunk - 5, length: 10 },
      { offset: 7 * chunk, length: chunk },
      { offset: 100, length: 0 },
    ];
    const parent = first.entry.id;
    const second = await repository.write(volume.source({ at: later, parent, changed }));
    expect(volume.reads.map(({ offset }) => offset / chunk).sort()).toEqual([1499, 1500, 7]);
    expect(second.readBytes).toBe(3 * chunk);
    expectSame(await restored(repository, 'v1', second.entry.id), volume.content);
  });

  it('takes no space for zeros, for what is there twice, and for what did not change', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(2100 * chunk);
    const zeros = await repository.write(volume.source());
    expect(dataNames(target)).toEqual([]);
    expect(zeros.storedBytes).toBe(0);
    for (const at of [3, 4, 2050]) noise(chunk, 1).copy(volume.content, at * chunk);
    const twice = await repository.write(volume.source({ at: later }));
    // The content, two pages of references to it, and the root.
    expect(dataNames(target)).toHaveLength(4);
    const same = { at: later + 1, parent: twice.entry.id };
    const again = await repository.write(volume.source(same));
    expect(again.storedBytes).toBe(0);
    expect(dataNames(target)).toHaveLength(4);
    for (const { entry } of [twice, again]) {
      expectSame(await restored(repository, 'v1', entry.id), volume.content);
    }
    expectSame(await restored(repository, 'v1', zeros.entry.id), Buffer.alloc(2100 * chunk));
  });

  it('is whole when its volume grew or shrank since its parent', async () => {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(1023 * chunk + 512);
    volume.content.fill(7);
    let parent = (await repository.write(volume.source())).entry.id;
    for (const [step, bytes] of [
      1023 * chunk + 1024,
      2100 * chunk,
      900 * chunk + 7,
      3000,
    ].entries()) {
      const grown = Buffer.alloc(bytes);
      volume.content.copy(grown);
      volume.content = grown;
      const { entry } = await repository.write(
        volume.source({ at: later + step, parent, changed: [] }),
      );
      expectSame(await restored(repository, 'v1', entry.id), volume.content);
      parent = entry.id;
    }
  });

  it('without a parent holds what is said to be there', async () => {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(100 * chunk);
    volume.content.fill(9, chunk, 2 * chunk);
    const { entry } = await repository.write(
      volume.source({ changed: [{ offset: chunk, length: chunk }] }),
    );
    expect(volume.reads).toEqual([{ offset: chunk, length: chunk }]);
    expectSame(await restored(repository, 'v1', entry.id), volume.content);
  });

  it('continues after an interruption, and sends nothing twice', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(40 * chunk);
    noise(40 * chunk, 1).copy(volume.content);
    let cut = 25;
    for (const lost = new Set<string>(); ; cut += 25) {
      failFrom(target, cut);
      const sent = dataNames(target).length;
      const run = await repository.write(volume.source()).catch((error: unknown) => error);
      target.before = () => {};
      for (const name of dataNames(target)) lost.add(name);
      if (run instanceof Error) {
        expect(run).toMatchObject(code('unavailable'));
        expect(await repository.list()).toEqual([]);
        expect(await repository.unfinished('v1')).toMatchObject([{ name: 'b', parent: null }]);
        continue;
      }
      expect(sent).toBeGreaterThan(20);
      expect(run).toMatchObject({ resumed: true });
      // All in one session: nothing was begun anew.
      expect(dataNames(target)).toHaveLength(42);
      expect(lost.size).toBe(42);
      break;
    }
    const [entry] = await repository.list();
    expect(entry?.storedBytes).toBeGreaterThan(40 * chunk);
    expectSame(await restored(repository, 'v1', entry!.id), volume.content);
    expect(await repository.unfinished('v1')).toEqual([]);
    const puts = target.counts.put;
    expect((await repository.write(volume.source())).entry).toEqual(entry);
    expect(target.counts.put).toBe(puts);
  });

  it('that is given up is swept away', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(40 * chunk);
    noise(40 * chunk, 1).copy(volume.content);
    failFrom(target, 30);
    await expect(repository.write(volume.source())).rejects.toMatchObject(code('unavailable'));
    target.before = () => {};
    await repository.sweep('v1');
    expect(dataNames(target).length).toBeGreaterThan(5);
    const [unfinished] = await repository.unfinished('v1');
    await repository.discard('v1', unfinished!.session);
    expect(await repository.volumes()).toEqual(['v1']);
    expect((await repository.sweep('v1')).deletedBytes).toBeGreaterThan(5 * chunk);
    expect([...target.objects.keys()]).toEqual(['repository.json']);
    expect(await repository.volumes()).toEqual([]);
  });

  it('is published last, when all that it needs is on stable storage', async () => {
    const { repository, target } = await memoryRepository();
    const steps: string[] = [];
    target.before = (operation, name) => {
      if (operation === 'put' || operation === 'flush') steps.push(name.split('/')[0] ?? '');
    };
    const volume = new FakeVolume(3 * chunk);
    noise(3 * chunk, 1).copy(volume.content);
    await repository.write(volume.source());
    const data = Array.from({ length: 5 }, () => 'data');
    expect(steps).toEqual(['pins', 'all', ...data, 'all', 'backups', 'all']);
  });

  it('stops when it is told to, and tells how far it is', async () => {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(200 * chunk);
    const stop = new AbortController();
    const seen: WriteProgress[] = [];
    const progress = (now: WriteProgress) => {
      seen.push(now);
      if (seen.length === 100) stop.abort();
    };
    const { signal } = stop;
    await expect(repository.write(volume.source(), { signal, progress })).rejects.toMatchObject(
      code('cancelled'),
    );
    expect(volume.reads.length).toBeLessThan(120);
    expect(seen[99]).toMatchObject({ doneBytes: 100 * chunk, totalBytes: 200 * chunk });
    expect(seen.length).toBeLessThan(110);
    await repository.write(volume.source(), { progress });
    expect(seen.at(-1)).toMatchObject({ doneBytes: 200 * chunk, totalBytes: 200 * chunk });
  });

  it('is written no faster than it may be', async () => {
    const schedule = new Schedule(1000);
    expect([0, 0, 250, 5000].map((now) => schedule.book(500, now))).toEqual([0, 500, 750, 0]);
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(11 * chunk);
    const start = performance.now();
    await repository.write(volume.source(), { bytesPerSecond: 50 * chunk });
    expect(performance.now() - start).toBeGreaterThan(190);
    for (const bytesPerSecond of [0, -1, Number.NaN]) {
      await expect(
        repository.write(volume.source({ at: later }), { bytesPerSecond }),
      ).rejects.toMatchObject(code('bad-input'));
    }
  });

  it('takes no nonsense, and leaves nothing of it', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(10 * chunk);
    const nonsense = [
      { volume: '../v' },
      { volume: '' },
      { name: 'a~b' },
      { name: 'x'.repeat(64) },
      { volumeName: 'a/b' },
      { at: -1 },
      { at: 1.5 },
      { at: 1e15 },
      { sizeBytes: 0 },
      { sizeBytes: 2 ** 60 },
      { sizeBytes: Number.NaN },
      { parent: 'first' },
      { changed: [{ offset: -1, length: 1 }] },
      { changed: [{ offset: 0, length: 10 * chunk + 1 }] },
      { changed: [{ offset: 0.5, length: 1 }] },
      { labels: { a: 'x'.repeat(5000) } },
    ];
    for (const bad of nonsense) {
      await expect(repository.write(volume.source(bad))).rejects.toMatchObject(code('bad-input'));
    }
    const parent = '0'.repeat(32);
    await expect(repository.write(volume.source({ parent }))).rejects.toMatchObject(
      code('not-found'),
    );
    await expect(
      repository.write(volume.source({ read: async () => Buffer.alloc(1) })),
    ).rejects.toMatchObject(code('internal'));
    await repository.discard('v1', (await repository.unfinished('v1'))[0]!.session);
    expect([...target.objects.keys()]).toEqual(['repository.json']);
  });
});

describe('a reader', () => {
  it('returns any part, with bounded memory, and all that is not zeros in order', async () => {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(2000 * chunk + 300);
    for (const at of [0, 5, 6, 1024, 1999, 2000])
      volume.content.fill(at + 1, at * chunk, Math.min((at + 1) * chunk, volume.content.length));
    const { entry } = await repository.write(volume.source());
    const reader = await repository.open('v1', entry.id, { hold: true });
    for (const [offset, length] of [
      [0, 10],
      [chunk - 3, 7],
      [4 * chunk + 1, 3 * chunk],
      [2000 * chunk, 300],
      [5, 0],
    ] as const) {
      expectSame(
        await reader.readRange(offset, length),
        volume.content.subarray(offset, offset + length),
      );
    }
    const offsets: number[] = [];
    for await (const { content, offset } of reader.chunks({ from: 6 * chunk + 1, ahead: 2 })) {
      offsets.push(offset / chunk);
      expectSame(content, volume.content.subarray(offset, offset + content.length));
    }
    expect(offsets).toEqual([6, 1024, 1999, 2000]);
    for (const [offset, length] of [
      [-1, 1],
      [0, volume.content.length + 1],
      [0.5, 1],
      [0, 2 ** 27],
    ] as const) {
      await expect(reader.readRange(offset, length)).rejects.toMatchObject(code('bad-input'));
    }
    await reader.close();
  });

  it('holds its backup against removal until it is closed', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(10 * chunk);
    noise(10 * chunk, 1).copy(volume.content);
    const { entry } = await repository.write(volume.source());
    const reader = await repository.open('v1', entry.id, { hold: true });
    expect(await repository.remove('v1', [entry.id])).toBe(1);
    await repository.sweep('v1');
    expectSame(await restore(reader), volume.content);
    await reader.close();
    await repository.sweep('v1');
    expect([...target.objects.keys()]).toEqual(['repository.json']);
    await expect(repository.open('v1', entry.id)).rejects.toMatchObject(code('not-found'));
  });

  it('fetches no more than is taken, and stops when it is told to', async () => {
    const { repository, target } = await memoryRepository();
    const volume = new FakeVolume(100 * chunk);
    noise(100 * chunk, 1).copy(volume.content);
    const { entry } = await repository.write(volume.source());
    const reader = await repository.open('v1', entry.id);
    const stop = new AbortController();
    const before = target.counts.get;
    const taken = (async () => {
      for await (const { offset } of reader.chunks({ ahead: 4, signal: stop.signal })) {
        if (offset !== 10 * chunk) continue;
        await sleep(20);
        expect(target.counts.get - before).toBeLessThan(20);
        stop.abort();
      }
    })();
    await expect(taken).rejects.toMatchObject(code('cancelled'));
  });
});

describe('an encrypted repository', () => {
  it('shows neither content nor which content it is', async () => {
    const secret = Buffer.alloc(chunk, 'a secret that compresses well ');
    const volume = new FakeVolume(3 * chunk);
    secret.copy(volume.content, chunk);
    const names: string[] = [];
    for (const operatorKey of [key, Buffer.from('another operator’s key')]) {
      const { repository, target } = await memoryRepository({ key: operatorKey });
      for (const name of ['v1', 'v2']) {
        const { entry } = await repository.write(
          volume.source({ volume: name, labels: { a: 'secret' } }),
        );
        expectSame(await restored(repository, name, entry.id), volume.content);
      }
      const all = Buffer.concat([...target.objects.values()]);
      expect(all.includes('secret')).toBe(false);
      names.push(...dataNames(target).map((name) => name.split('/').at(-1) ?? ''));
    }
    // A chunk, a page and a root, of two volumes with two keys, all with names of their own.
    expect(new Set(names).size).toBe(12);
  });

  it('opens with its key only', async () => {
    const { target } = await memoryRepository({ key });
    await openRepository(target, key);
    const wrong = Buffer.from('not this one, though long');
    for (const other of [wrong, undefined, Buffer.from('short'), Buffer.alloc(1 << 20)]) {
      await expect(openRepository(target, other)).rejects.toMatchObject(code('bad-input'));
    }
    // Somebody put one without encryption in its place, to read what comes.
    const { target: plain } = await memoryRepository();
    target.objects.set('repository.json', plain.objects.get('repository.json')!);
    await expect(openRepository(target, key)).rejects.toMatchObject(code('bad-input'));
    await expect(createRepository(new MemoryTarget(), { chunkBytes: 5000 })).rejects.toMatchObject(
      code('bad-input'),
    );
  });

  it('opens no object under another name', async () => {
    const { repository, target } = await memoryRepository({ key });
    const volume = new FakeVolume(4 * chunk);
    noise(4 * chunk, 1).copy(volume.content);
    const [one, other] = [
      await repository.write(volume.source()),
      await repository.write(volume.source({ volume: 'v2' })),
    ];
    const [from, to] = ['v1', 'v2'].map(
      (name) => [...target.objects.keys()].find((path) => path.startsWith(`backups/${name}/`))!,
    );
    target.objects.set(to!.replace(other.entry.id, one.entry.id), target.objects.get(from!)!);
    await expect(repository.open('v2', one.entry.id)).rejects.toMatchObject(code('damaged'));
  });
});
