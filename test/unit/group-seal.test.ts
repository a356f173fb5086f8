/** Seals of a group: two stops, each bounded, and no snapshot unless everybody was held. */
import { describe, expect, test, vi } from 'vitest';
import { GroupSeal, longestHoldMs } from '../../src/node/group-seal.ts';
import { WantedRolls } from '../../src/node/wanted-rolls.ts';
import { record } from './volume/fixtures.ts';

const snapshot = { id: 's', name: 'one', createdAt: 'now' };

function clock() {
  const timers: { milliseconds: number; callback: () => void }[] = [];
  return {
    timers,
    after(milliseconds: number, callback: () => void) {
      const timer = { milliseconds, callback };
      timers.push(timer);
      return () => timers.splice(timers.indexOf(timer), 1);
    },
    /** The times are up. */
    pass() {
      for (const { callback } of timers.splice(0)) callback();
    },
  };
}

describe('GroupSeal', () => {
  test('holds writes until it is told, and says whether the snapshot was kept', async () => {
    const seal = new GroupSeal('g', snapshot, clock());
    const ending = seal.ready();
    await seal.untilReady();
    const holding = seal.hold();
    await ending;
    const kept = seal.held();
    await holding;
    const finished = seal.finish(true);
    expect(await kept).toBe(true);
    seal.done(true);
    expect(await finished).toBe(true);
  });

  test('writes go on without a snapshot when nobody is heard of', async () => {
    const time = clock();
    const seal = new GroupSeal('g', snapshot, time);
    const ending = seal.ready();
    time.pass();
    await ending;
    const kept = seal.held();
    expect(time.timers.map((t) => t.milliseconds)).toEqual([longestHoldMs]);
    time.pass();
    expect(await kept).toBe(false);
    seal.done(false);
    // Who asks too late is told so.
    expect(await seal.finish(true)).toBe(false);
  });

  test('who waits for a roll that failed is told why', async () => {
    const seal = new GroupSeal('g', snapshot, clock());
    seal.fail(new Error('no such roll'));
    await expect(seal.untilReady()).rejects.toThrow('no such roll');
    await expect(seal.hold()).rejects.toThrow('no such roll');
    await expect(seal.finish(true)).rejects.toThrow('no such roll');
  });
});

describe('rolls of groups', () => {
  test('each is served alone, the others by the next roll', async () => {
    const rolls = new WantedRolls();
    const { signal } = new AbortController();
    const group = new GroupSeal('g', snapshot, clock());
    const other = new GroupSeal('h', snapshot, clock());
    const waiting = [
      rolls.add({ reason: 'seal' }, signal),
      rolls.add({ reason: 'seal', group }, signal),
      rolls.add({ reason: 'seal', group: other }, signal),
    ];
    const roll = vi.fn(async () => undefined);
    while (!rolls.none) await rolls.serve(record(), roll);
    await Promise.all(waiting);
    expect(roll.mock.calls).toEqual([
      [{ reason: 'seal', group }],
      [{ reason: 'seal', group: other }],
      [{ reason: 'seal' }],
    ]);
  });
});
