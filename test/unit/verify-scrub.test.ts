/** The scrub: which copy, when, how fast, and what it remembers. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkConfig } from '../../src/daemon/config.ts';
import type { Environment } from '../../src/node/context.ts';
import { scrubMemoryIn } from '../../src/node/scrub-memory.ts';
import { paced } from '../../src/node/scrub-pace.ts';
import { never, nextTarget, remembered, scrubTargets } from '../../src/node/scrub-plan.ts';
import { poolOf, record, sealed } from './volume/fixtures.ts';

const mib = 1 << 20;
const self = { node: 'n1', pool: poolOf('n1') };
const day = (n: number) => `2026-03-${String(n).padStart(2, '0')}T00:00:00.000Z`;
const dayMs = 86_400_000;

/** A clock that moves only when something waits for it. */
function clock() {
  let now = 1_000;
  const environment: Environment = {
    now: () => new Date(now).toISOString(),
    monotonic: () => now,
    randomId: () => '0',
    after: (milliseconds, callback) => {
      now += milliseconds;
      queueMicrotask(callback);
      return () => undefined;
    },
  };
  return { environment, now: () => now, pass: (milliseconds: number) => (now += milliseconds) };
}

describe('what is scrubbed', () => {
  test('are the proven copies of this node in this pool', () => {
    const chain = [
      sealed(1, ['n1', 'n2']),
      sealed(2, ['n2']),
      sealed(3, ['n1?', 'n2']),
      sealed(4, ['n1'], { manifest: null }),
    ];
    const ids = (pool: string) =>
      scrubTargets([record({ chain })], { ...self, pool }).map(({ layer }) => layer.id);
    expect(ids(self.pool)).toEqual(['layer-1']);
    expect(ids('another pool')).toEqual([]);
    const gone = record({ chain, tail: { phase: 'deleting' } });
    expect(scrubTargets([gone], self)).toEqual([]);
  });

  const targets = scrubTargets(
    [record({ chain: [sealed(1, ['n1']), sealed(2, ['n1']), sealed(3, ['n1'])] })],
    self,
  );

  test('is the oldest proof first, when its time has come', () => {
    const scrubbed = { 'layer-1': day(5), 'layer-2': day(3), 'layer-3': day(4) };
    const next = nextTarget(targets, scrubbed, day(10), 14 * dayMs);
    expect([next?.target.layer.id, next?.inMs]).toEqual(['layer-2', 7 * dayMs]);
    expect(nextTarget(targets, scrubbed, day(20), 14 * dayMs)?.inMs).toBe(0);
    expect(nextTarget([], {}, day(1), dayMs)).toBeNull();
  });

  test('is due at once when nothing is known, or the clock went back', () => {
    expect(nextTarget(targets, { 'layer-1': never }, day(10), dayMs)?.inMs).toBe(0);
    const future = { 'layer-1': day(20), 'layer-2': day(9), 'layer-3': day(9) };
    expect(nextTarget(targets, future, day(10), 14 * dayMs)).toMatchObject({
      target: { layer: { id: 'layer-1' } },
      inMs: 0,
    });
  });

  test('new copies were just proven, and those that are gone are forgotten', () => {
    const now = remembered({ 'layer-1': day(5), 'layer-9': day(1) }, targets, day(10));
    expect(now).toEqual({ 'layer-1': day(5), 'layer-2': day(10), 'layer-3': day(10) });
  });
});

describe('the rate of the scrub', () => {
  const quiet = () => false;

  test('is what was asked for, and time that was lost is not made up for', async () => {
    const { environment, now, pass } = clock();
    const pace = paced(environment, 2 * mib, quiet, new AbortController().signal);
    for (let i = 1; i <= 10; i += 1) await pace(i * mib, 10 * mib);
    expect(now()).toBe(6_000);
    pass(60_000);
    for (let i = 11; i <= 20; i += 1) await pace(i * mib, 20 * mib);
    expect(now()).toBeGreaterThanOrEqual(6_000 + 60_000 + 4_500);
  });

  test('is nothing while other work is done, and ends with the daemon', async () => {
    const { environment, now } = clock();
    let looks = 5;
    const busy = () => {
      looks -= 1;
      return looks > 0;
    };
    const stop = new AbortController();
    const pace = paced(environment, 1_000 * mib, busy, stop.signal);
    await pace(mib, mib);
    expect(now()).toBe(1_000 + 1 + 4_000);
    stop.abort(new Error('over'));
    await expect(pace(2 * mib, 2 * mib)).rejects.toThrow('over');
  });
});

describe('what the scrub remembers', () => {
  test('survives, is replaced whole, and is nothing when it is broken', async () => {
    const pool = await mkdtemp(join(tmpdir(), 'hs-scrub-'));
    onTestFinished(() => rm(pool, { recursive: true }));
    const memory = scrubMemoryIn(pool);
    expect(await memory.read()).toBeNull();
    await memory.write({ 'layer-1': day(1) });
    await memory.write({ 'layer-2': day(2) });
    expect(await memory.read()).toEqual({ 'layer-2': day(2) });
    expect(await readdir(pool)).toEqual(['scrub-times.json']);
    for (const broken of ['{"layer-1":"2026', '[]', '{"layer-1":5}', '']) {
      await writeFile(join(pool, 'scrub-times.json'), broken);
      expect(await memory.read()).toBeNull();
    }
  });
});

describe('the settings of the scrub', () => {
  const check = (scrub: unknown) => checkConfig({ node: 'n1', address: '10.0.0.1', scrub }, 'f');

  test('have defaults, one by one', () => {
    expect(check(undefined).scrub).toEqual({ bytesPerSecond: 20 * mib, intervalDays: 14 });
    expect(check({ intervalDays: 0 }).scrub).toEqual({ bytesPerSecond: 20 * mib, intervalDays: 0 });
  });

  test.each([
    [{ bytesPerSecond: 1_000 }, /scrub.bytesPerSecond 1000 is neither 0 \(off\)/],
    [{ bytesPerSecond: -1 }, /scrub.bytesPerSecond \(-1\)/],
    [{ intervalDays: 'weekly' }, /scrub.intervalDays \("weekly"\)/],
    [{ intervalDays: 1e9 }, /scrub.intervalDays/],
    [{ rate: 5 }, /there is no setting scrub.rate/],
    [5, /scrub \(5\)/],
  ])('%j is refused by its name', (scrub, text) => {
    expect(() => check(scrub)).toThrow(text);
  });
});
