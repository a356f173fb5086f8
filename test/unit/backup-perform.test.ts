/** What is written for an episode, decided from what is on the target. */
import { expect, test } from 'vitest';
import type { WriteRequest } from '../../src/backup/calls.ts';
import { discard, prune, write } from '../../src/backup/perform.ts';
import type { Repository } from '../../src/backup/repository.ts';
import { chunk, FakeVolume, memoryRepository, noise } from './backup-fixtures.ts';

const start = Date.parse('2026-11-20T00:00:00Z');
const hourMs = 3_600_000;
const { signal } = new AbortController();
const quiet = () => undefined;

function request(number: number, changes: Partial<WriteRequest> = {}): WriteRequest {
  return {
    ...{ volume: 'v1', volumeName: 'data', name: `episode-${number}`, at: start + number * hourMs },
    ...{ sizeBytes: 4 * chunk, chain: null, base: null, unlessSame: true, labels: {} },
    ...{ bytesPerSecond: 0, socket: '/nowhere' },
    ...changes,
  };
}

async function put(repository: Repository, number: number) {
  const volume = new FakeVolume(4 * chunk);
  volume.content.set(noise(4 * chunk, number));
  const at = start + number * hourMs;
  return (await repository.write(volume.source({ name: `episode-${number}`, at }))).entry;
}

test('nothing is written when nothing changed since the base; asked for, it is', async () => {
  const { repository } = await memoryRepository();
  const first = await put(repository, 1);
  const base = { backup: first.id, layers: 0, sizeBytes: first.sizeBytes };
  const same = await write(repository, request(2, { base }), signal, quiet);
  expect(same).toMatchObject({ isNew: false, entry: { id: first.id }, parent: first.id });
  expect(await repository.list()).toHaveLength(1);
  const asked = await write(repository, request(2, { base, unlessSame: false }), signal, quiet);
  expect(asked).toMatchObject({ isNew: true, parent: first.id, readBytes: 0 });
  const grown = request(3, { base, sizeBytes: 5 * chunk });
  expect(await write(repository, grown, signal, quiet)).toMatchObject({ isNew: true });
});

test('a base that is not there is replaced by the newest backup, and all is looked at', async () => {
  const { repository } = await memoryRepository();
  const first = await put(repository, 1);
  const newest = await put(repository, 2);
  const base = { backup: '0'.repeat(32), layers: 0, sizeBytes: first.sizeBytes };
  const written = await write(repository, request(3, { base }), signal, quiet);
  expect(written).toMatchObject({ isNew: true, whole: true, parent: newest.id });
  expect(written.readBytes).toBe(4 * chunk);
  // The same again, as after a crash before it was recorded.
  const again = await write(repository, request(3, { base }), signal, quiet);
  expect(again).toMatchObject({ entry: { id: written.entry.id }, readBytes: 0 });
  // Of an older state the backup before it is the parent.
  const older = request(1, { name: 'of-a-snapshot', at: start + 1.5 * hourMs });
  expect(await write(repository, older, signal, quiet)).toMatchObject({ parent: first.id });
});

test('a write that was interrupted keeps its parent, whatever came meanwhile', async () => {
  const { repository } = await memoryRepository();
  const first = await put(repository, 1);
  const stop = new AbortController();
  stop.abort();
  const begun = repository.write(
    new FakeVolume(4 * chunk).source({
      ...{ name: 'episode-5', at: start + 5 * hourMs, parent: first.id, changed: null },
      read: async () => {
        throw new Error('interrupted');
      },
    }),
  );
  await expect(begun).rejects.toThrow('interrupted');
  await put(repository, 2);
  expect(await write(repository, request(5), signal, quiet)).toMatchObject({ parent: first.id });
  expect(await repository.unfinished('v1')).toEqual([]);
  const at = start + 5 * hourMs;
  expect(await discard(repository, { volume: 'v1', name: 'episode-5', at })).toBe(0);
});

test('only what the plan made, and nothing that is a base, is removed by it', async () => {
  const { repository } = await memoryRepository();
  const made = [];
  for (const number of [1, 2, 3, 4]) made.push(await put(repository, number));
  const volume = new FakeVolume(chunk);
  await repository.write(volume.source({ name: 'by-hand', at: start }));
  const held = [made[0]?.id ?? ''];
  const wish = { volume: 'v1', prefix: 'episode-', keep: { last: 1 }, held };
  const removed = await prune(repository, wish, start + 9 * hourMs);
  expect(removed.map((e) => e.name).sort()).toEqual(['episode-2', 'episode-3']);
  const left = (await repository.list()).map((e) => e.name);
  expect(left).toEqual(['by-hand', 'episode-1', 'episode-4']);
});
