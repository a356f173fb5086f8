/** What verification finds, what it says of it, and what the next backup does about it. */
import { describe, expect, it } from 'vitest';
import type { Repository } from '../../src/backup/index.ts';
import {
  chunk,
  code,
  expectSame,
  FakeVolume,
  key,
  memoryRepository,
  noise,
  restored,
} from './backup-fixtures.ts';
import type { MemoryTarget } from './backup-memory-target.ts';

const [first, second, third] = [1_800_000_000_000, 1_800_000_001_000, 1_800_000_002_000];

/** Two backups of a volume of two pages; the second changed the second page. */
async function twoBackups(options: { key?: Buffer } = {}) {
  const made = await memoryRepository(options);
  const volume = new FakeVolume(1100 * chunk);
  for (const at of [3, 4, 1050]) noise(chunk, at).copy(volume.content, at * chunk);
  const one = await made.repository.write(volume.source({ at: first }));

  noise(chunk, 9).copy(volume.content, 1060 * chunk);
  const two = await made.repository.write(
    volume.source({
      at: second,
      parent: one.entry.id,
      changed: [{ offset: 1060 * chunk, length: chunk }],
    }),
  );
  return { ...made, volume, one: one.entry, two: two.entry };
}

const isChunk = (content: Buffer) => content[5] === 1;
const isIndex = (content: Buffer) => content[5] === 2 || content[5] === 3;

/** A bit of each such object of the data turns over. */
function rot(target: MemoryTarget, which: (content: Buffer) => boolean): void {
  for (const [name, content] of target.objects) {
    if (name.startsWith('data/') && which(content)) content[content.length - 1]! ^= 4;
  }
}

/** Names of the objects that hold such content, found by breaking one after another. */
async function objectsOf(
  target: MemoryTarget,
  repository: Repository,
  ranges: (lost: number[][]) => boolean,
) {
  const found: string[] = [];
  for (const [name, content] of [...target.objects]) {
    if (!name.startsWith('data/')) continue;
    target.objects.delete(name);
    const { damaged } = await repository.verify('v1', null, { mode: 'quick' });
    const lost = damaged.flatMap((one) =>
      one.ranges.map(({ length, offset }) => [offset / chunk, length / chunk]),
    );
    if (ranges(lost)) found.push(name);
    target.objects.set(name, content);
    for (const mark of [...target.objects.keys()])
      if (mark.startsWith('damage/')) target.objects.delete(mark);
  }
  return found;
}

describe.each([{ form: 'plain' }, { form: 'encrypted', key }])('verification, $form', (options) => {
  it('finds nothing where all is well', async () => {
    const { repository } = await twoBackups(options);
    for (const mode of ['quick', 'full'] as const) {
      const report = await repository.verify('v1', null, { mode });
      // 4 chunks, pages 0, 1 and the new 1, two roots; each once.
      expect(report).toMatchObject({ backups: 2, objects: 9, bad: [], damaged: [] });
    }
  });

  it('says which ranges of which backups a bad chunk takes', async () => {
    const { repository, target, one, two } = await twoBackups(options);
    const [name] = await objectsOf(target, repository, (lost) => String(lost) === '3,1,3,1');
    const content = target.objects.get(name!)!;
    content[content.length - 1]! ^= 1;
    // A quick look sees lengths only.
    expect((await repository.verify('v1', null, { mode: 'quick' })).damaged).toEqual([]);
    const { bad, damaged } = await repository.verify('v1', null, { mode: 'full' });
    expect(bad).toMatchObject([{ name }]);
    const ranges = [{ offset: 3 * chunk, length: chunk, reason: bad[0]!.reason }];
    expect(damaged).toEqual([
      { entry: one, ranges },
      { entry: two, ranges },
    ]);
    const reader = await repository.open('v1', two.id);
    await expect(reader.readRange(0, 4 * chunk)).rejects.toMatchObject({
      ...code('damaged'),
      values: { backup: two.id, offset: 3 * chunk, length: chunk },
    });
    expectSame(await reader.readRange(4 * chunk, chunk), noise(chunk, 4));
    expect((await repository.verify('v1', [one.id], { mode: 'full' })).damaged).toHaveLength(1);
  });

  it('says what a missing page and a missing root take', async () => {
    const { repository, target, one, two } = await twoBackups(options);
    const pages = await objectsOf(target, repository, (lost) => String(lost) === '0,1024,0,1024');
    expect(pages).toHaveLength(1);
    const roots = await objectsOf(target, repository, (lost) => String(lost) === '0,1100');
    expect(roots).toHaveLength(2);
    target.objects.set(pages[0]!, Buffer.alloc(40));
    for (const name of roots) target.objects.delete(name);
    const { damaged } = await repository.verify('v1', null, { mode: 'quick' });
    expect(damaged.map(({ entry, ranges }) => [entry.id, ranges.length])).toEqual([
      [one.id, 1],
      [two.id, 1],
    ]);
    await expect(repository.sweep('v1')).rejects.toMatchObject(code('damaged'));
    await repository.remove('v1', [one.id, two.id]);
    await repository.sweep('v1');
    expect([...target.objects.keys()]).toEqual(['repository.json']);
  });

  it('lets the next backup mend bad content for all backups that have it', async () => {
    const { repository, target, volume, two } = await twoBackups(options);
    rot(target, isChunk);
    expect((await repository.verify('v1', null, { mode: 'full' })).damaged).toHaveLength(2);
    volume.reads.length = 0;
    const mending = volume.source({ at: third, parent: two.id, changed: [] });
    const { entry } = await repository.write(mending);
    // Only what is lost was read again.
    const reads = volume.reads.map(({ offset }) => offset / chunk);
    expect(reads.toSorted((a, b) => a - b)).toEqual([3, 4, 1050, 1060]);
    expectSame(await restored(repository, 'v1', entry.id), volume.content);
    expectSame(await restored(repository, 'v1', two.id), volume.content);
    expect((await repository.verify('v1', null, { mode: 'full' })).damaged).toEqual([]);
    expect([...target.objects.keys()].filter((name) => name.startsWith('damage/'))).toEqual([]);
  });

  it('lets the next backup do without a bad index, known or not', async () => {
    for (const known of [true, false]) {
      const { repository, target, volume, one, two } = await twoBackups(options);
      rot(target, (content) => isIndex(content));
      if (known) await repository.verify('v1', null, { mode: 'full' });
      const change = { offset: 5 * chunk, length: 1 };
      const { entry } = await repository.write(
        volume.source({ at: third, parent: two.id, changed: [change] }),
      );
      expectSame(await restored(repository, 'v1', entry.id), volume.content);
      const { damaged } = await repository.verify('v1', null, { mode: 'full' });
      expect(damaged.map((lost) => lost.entry.id)).toEqual([one.id, two.id]);
      await repository.remove('v1', [one.id, two.id]);
      await repository.sweep('v1');
      expect((await repository.verify('v1', null, { mode: 'full' })).damaged).toEqual([]);
      expect([...target.objects.keys()].filter((name) => name.startsWith('damage/'))).toEqual([]);
    }
  });

  it('tells of a manifest that is lost, and the sweep keeps what it may need', async () => {
    const { repository, target, one } = await twoBackups(options);
    const name = [...target.objects.keys()].find((path) => path.includes(one.id))!;
    target.objects.set(name, Buffer.from('{}'));
    // And one whose name lies.
    const huge = name.replace(one.id, '1'.repeat(32)).replace(`~${1100 * chunk}~`, `~${2 ** 52}~`);
    target.objects.set(huge, Buffer.from('{}'));
    expect(
      (await repository.verify('v1', ['1'.repeat(32)], { mode: 'full' })).damaged,
    ).toHaveLength(1);
    await repository.remove('v1', ['1'.repeat(32)]);
    const { damaged } = await repository.verify('v1', null, { mode: 'quick' });
    expect(damaged).toMatchObject([
      { entry: { id: one.id }, ranges: [{ offset: 0, length: 1100 * chunk }] },
    ]);
    await expect(repository.sweep('v1')).rejects.toMatchObject(code('damaged'));
    await repository.remove('v1', [one.id]);
    await repository.sweep('v1');
    expect((await repository.verify('v1', null, { mode: 'full' })).damaged).toEqual([]);
  });

  it('can be slowed down and stopped', async () => {
    const { repository } = await twoBackups(options);
    const signal = AbortSignal.timeout(20);
    await expect(
      repository.verify('v1', null, { mode: 'full', bytesPerSecond: 1000, signal }),
    ).rejects.toMatchObject(code('cancelled'));
    await expect(repository.verify('v1', ['0'.repeat(32)], { mode: 'full' })).rejects.toMatchObject(
      code('not-found'),
    );
  });
});
