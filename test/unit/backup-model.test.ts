/** Random histories of a repository against plain copies of the volume in memory. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BackupEntry, DamagedRange, Repository } from '../../src/backup/index.ts';
import { openRepository } from '../../src/backup/index.ts';
import { isHyperscaleError } from '../../src/errors.ts';
import { chunk, FakeVolume, key, memoryRepository, noise } from './backup-fixtures.ts';
import { failFrom, type MemoryTarget } from './backup-memory-target.ts';

type Change = { at: number; length: number; seed: number };
type Step =
  | { do: 'write'; changes: Change[]; grow: boolean; incremental: boolean; crashAt: number | null }
  | { do: 'remove'; which: number }
  | { do: 'sweep' }
  | { do: 'verify'; mode: 'quick' | 'full' }
  | { do: 'rot'; which: number; how: 'flip' | 'truncate' | 'delete' | 'swap' };

const change = fc.record({
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  length: fc.integer({ min: 1, max: 3 * chunk }),
  // 0 stands for zeros; few others, so that contents come again.
  seed: fc.integer({ min: 0, max: 5 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      changes: fc.array(change, { maxLength: 4 }),
      grow: fc.boolean(),
      incremental: fc.boolean(),
      crashAt: fc.option(fc.nat(30)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('verify' as const),
      mode: fc.constantFrom('quick' as const, 'full' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('rot' as const),
      which: fc.nat(),
      how: fc.constantFrom(
        'flip' as const,
        'truncate' as const,
        'delete' as const,
        'swap' as const,
      ),
    }),
  },
);

class World {
  readonly target: MemoryTarget;
  readonly repository: Repository;
  readonly volume: FakeVolume;
  /** What each backup holds, by id. */
  readonly backups = new Map<string, Buffer>();
  /** The newest backup, and what changed since. */
  latest: string | null = null;
  pending: { offset: number; length: number }[] = [];
  rotten = false;
  /** Nothing rotted since a full verification. */
  verified = true;
  time = 1_800_000_000_000;

  constructor(target: MemoryTarget, repository: Repository) {
    this.target = target;
    this.repository = repository;
    // Two pages, the last one short.
    this.volume = new FakeVolume(1024 * chunk + 10 * chunk + 512);
  }

  async run(what: Step): Promise<void> {
    if (what.do === 'write') await this.write(what);
    else if (what.do === 'remove') await this.remove(what.which);
    else if (what.do === 'sweep') await this.sweep();
    else if (what.do === 'verify') await this.verify(what.mode);
    else this.rot(what.which, what.how);
    const listed = (await this.repository.list()).map(({ id }) => id);
    expect(new Set(listed)).toEqual(new Set(this.backups.keys()));
  }

  async write(what: Extract<Step, { do: 'write' }>): Promise<void> {
    if (what.grow && this.volume.content.length < 2 * 1024 * chunk) {
      this.volume.content = Buffer.concat([this.volume.content, Buffer.alloc(512 * 1024)]);
    }
    for (const { at, length, seed } of what.changes) this.change(at, length, seed);
    this.time += 1000;
    const parent = what.incremental ? this.latest : null;
    try {
      await this.backUp(parent, what.crashAt);
    } catch (error) {
      // The parent's manifest is lost: what builds on nothing needs it not.
      if (!isHyperscaleError(error, 'damaged') || !this.rotten) throw error;
      await this.backUp(null, null);
    }
  }

  change(at: number, length: number, seed: number): void {
    const { content } = this.volume;
    const offset = Math.floor(at * content.length);
    const end = Math.min(content.length, offset + length);
    const bytes = seed === 0 ? Buffer.alloc(end - offset) : noise(end - offset, seed);
    bytes.copy(content, offset);
    this.pending.push({ offset, length: end - offset });
  }

  async backUp(parent: string | null, crashAt: number | null): Promise<void> {
    const before = new Set(this.backups.keys());
    const source = this.volume.source({
      ...{ parent, at: this.time, name: `at-${this.time}` },
      changed: parent === null ? null : [...this.pending],
    });
    if (crashAt !== null) {
      failFrom(this.target, crashAt);
      await this.repository.write(source).catch((error: unknown) => {
        if (!isHyperscaleError(error, 'unavailable', 'damaged')) throw error;
      });
      this.target.before = () => {};
      // Whoever lists now sees it whole or not at all.
      for (const { id } of await this.repository.list()) {
        if (before.has(id)) continue;
        await this.expectWhole(id, Buffer.from(this.volume.content));
      }
    }
    const { entry } = await this.repository.write(source);
    this.backups.set(entry.id, Buffer.from(this.volume.content));
    this.latest = entry.id;
    this.pending = [];
    // What verification found is not used again.
    if (this.verified) await this.expectWhole(entry.id, this.volume.content);
  }

  async expectWhole(id: string, content: Buffer): Promise<void> {
    const reader = await this.repository.open('v1', id);
    const { damaged, restored } = await salvage(reader.entry, this.repository);
    if (!this.rotten || this.verified) expect(damaged).toEqual([]);
    expectEqualOutside(restored, content, damaged);
  }

  async remove(which: number): Promise<void> {
    const id = [...this.backups.keys()][which % Math.max(1, this.backups.size)];
    if (id === undefined) return;
    await this.repository.remove('v1', [id]);
    this.backups.delete(id);
    if (id !== this.latest) return;
    this.latest = null;
    this.pending = [];
  }

  async sweep(): Promise<void> {
    try {
      await this.repository.sweep('v1');
    } catch (error) {
      if (!isHyperscaleError(error, 'damaged') || !this.rotten) throw error;
    }
  }

  async verify(mode: 'quick' | 'full'): Promise<void> {
    const { bad, damaged } = await this.repository.verify('v1', null, { mode });
    if (!this.rotten) expect({ bad, damaged }).toEqual({ bad: [], damaged: [] });
    if (mode === 'quick') return;
    this.verified = true;
    const said = new Map(damaged.map(({ entry, ranges }) => [entry.id, ranges]));
    for (const [id, content] of this.backups) {
      const ranges = said.get(id) ?? [];
      const entry = (await this.repository.list()).find((one) => one.id === id);
      const { damaged: found, restored } = await salvage(entry!, this.repository);
      expect(bytesOf(found)).toEqual(bytesOf(ranges));
      expectEqualOutside(restored, content, ranges);
    }
  }

  /** One stored object becomes other than it was. */
  rot(which: number, how: 'flip' | 'truncate' | 'delete' | 'swap'): void {
    const names = [...this.target.objects.keys()].filter((name) => /^(data|backups)\//.test(name));
    const name = names[which % Math.max(1, names.length)];
    const content = name === undefined ? undefined : this.target.objects.get(name);
    if (name === undefined || content === undefined) return;
    const isManifest = name.startsWith('backups/');
    if (how === 'delete' && isManifest) return;
    if (how === 'delete') this.target.objects.delete(name);
    else if (how === 'truncate')
      this.target.objects.set(name, content.subarray(0, which % content.length));
    else if (how === 'swap')
      this.target.objects.set(name, this.target.objects.get(names[(which + 1) % names.length]!)!);
    else content[which % content.length]! ^= 1 << (which % 8);
    this.rotten = true;
    this.verified = false;
  }
}

/** All that can be read of a backup, and what cannot. */
async function salvage(entry: BackupEntry, repository: Repository) {
  const restored = Buffer.alloc(entry.sizeBytes);
  const damaged: DamagedRange[] = [];
  try {
    const reader = await repository.open(entry.volume, entry.id);
    for await (const piece of reader.chunks({ damaged: (range) => damaged.push(range) })) {
      piece.content.copy(restored, piece.offset);
    }
  } catch (error) {
    if (!isHyperscaleError(error, 'damaged')) throw error;
    damaged.push({ offset: 0, length: entry.sizeBytes, reason: error.message });
  }
  return { restored, damaged };
}

/** Ranges as joined pairs of first and last byte. */
function bytesOf(ranges: { offset: number; length: number }[]): [number, number][] {
  const joined: [number, number][] = [];
  for (const { length, offset } of ranges.toSorted((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && last[1] === offset) last[1] = offset + length;
    else joined.push([offset, offset + length]);
  }
  return joined;
}

function expectEqualOutside(restored: Buffer, content: Buffer, lost: DamagedRange[]): void {
  const expected = Buffer.from(content);
  for (const { length, offset } of lost) {
    expected.fill(0, offset, offset + length);
    restored.fill(0, offset, offset + length);
  }
  expect(restored.length).toBe(expected.length);
  expect(restored.equals(expected)).toBe(true);
}

describe.each([
  { form: 'plain', operatorKey: undefined, runs: Number(process.env.RUNS ?? 8) },
  { form: 'encrypted', operatorKey: key, runs: 2 },
])('a repository, $form', ({ operatorKey, runs }) => {
  it('restores every listed backup exactly, or verification says what is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
        const options = operatorKey === undefined ? {} : { key: operatorKey };
        const { repository, target } = await memoryRepository(options);
        const world = new World(target, repository);
        for (const one of steps) await world.run(one);
        await world.verify('full');
        await world.write({
          do: 'write',
          changes: [],
          grow: false,
          incremental: true,
          crashAt: null,
        });
        const again = await openRepository(target, operatorKey);
        expect(await again.list()).toEqual(await repository.list());
      }),
      { numRuns: runs },
    );
  });
});
