/** Which backups are kept: by count and by calendar. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupEntry, type RetentionPolicy, retain } from '../../src/backup/index.ts';
import { code } from './backup-fixtures.ts';

const hour = 3600 * 1000;
const now = Date.parse('2026-03-01T12:00:00Z');

function backup(at: number, id = at): BackupEntry {
  const hex = Math.abs(id).toString(16).padStart(32, '0');
  return { volume: 'v', id: hex, at, sizeBytes: 1, storedBytes: 0, name: 'b', volumeName: 'v' };
}

const kept = (policy: RetentionPolicy, times: string[]) =>
  retain(
    policy,
    times.map((time) => backup(Date.parse(time))),
    now,
  ).keep.map((one) => new Date(one.backup.at).toISOString().slice(0, 16));

const count = fc.option(fc.nat(6), { nil: undefined });
const policies = fc
  .record({
    last: count,
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
  })
  .map((counts) => Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== undefined)))
  .filter((policy) => Object.values(policy).some((n) => Number(n) > 0));
const backups = fc
  .uniqueArray(fc.integer({ min: now - 700 * 24 * hour, max: now }), { maxLength: 60 })
  .map((times) => times.map((at) => backup(at)));

describe('retention', () => {
  it('keeps the last ones', () => {
    const times = ['2026-02-01T01:00Z', '2026-02-01T02:00Z', '2026-02-01T03:00Z'];
    expect(kept({ last: 2 }, times)).toEqual(['2026-02-01T03:00', '2026-02-01T02:00']);
  });

  it('keeps the newest of each period that has one; weeks begin on Monday', () => {
    const times = [
      ...['2025-12-28T23:59Z', '2025-12-29T00:00Z', '2025-12-31T05:00Z', '2026-01-04T22:00Z'],
      ...['2026-01-05T00:00Z', '2026-02-10T10:10Z', '2026-02-10T10:50Z', '2026-02-10T11:00Z'],
    ];
    expect(kept({ hourly: 2 }, times)).toEqual(['2026-02-10T11:00', '2026-02-10T10:50']);
    expect(kept({ daily: 3 }, times)).toEqual([
      '2026-02-10T11:00',
      '2026-01-05T00:00',
      '2026-01-04T22:00',
    ]);
    expect(kept({ weekly: 4 }, times)).toEqual([
      ...['2026-02-10T11:00', '2026-01-05T00:00', '2026-01-04T22:00', '2025-12-28T23:59'],
    ]);
    expect(kept({ monthly: 9 }, times)).toEqual([
      '2026-02-10T11:00',
      '2026-01-05T00:00',
      '2025-12-31T05:00',
    ]);
    expect(kept({ yearly: 1 }, times)).toEqual(['2026-02-10T11:00']);
  });

  it('says why it keeps one', () => {
    const all = [backup(now - hour), backup(now + hour), backup(now - 30 * 24 * hour)];
    const { keep, remove } = retain({ last: 1, daily: 1 }, all, now, new Set([all[2]!.id]));
    expect(keep.map((one) => one.because)).toEqual([['future'], ['last', 'daily'], ['held']]);
    expect(remove).toEqual([]);
  });

  it('refuses rules that make no sense or keep nothing', () => {
    for (const policy of [
      {},
      { last: 0 },
      { last: -1 },
      { daily: 1.5 },
      { last: Number.NaN },
      { last: 1e9 },
    ]) {
      expect(() => retain(policy, [], now)).toThrow(expect.objectContaining(code('bad-input')));
    }
    const unknown = { fortnightly: 2 } as RetentionPolicy;
    expect(() => retain(unknown, [], now)).toThrow(expect.objectContaining(code('bad-input')));
  });

  it('keeps or removes each one, always the newest, and no more than the rules allow', () => {
    fc.assert(
      fc.property(policies, backups, (policy, all) => {
        const { keep, remove } = retain(policy, all, now);
        const ids = [...keep.map((one) => one.backup), ...remove].map(({ id }) => id);
        expect(ids.toSorted()).toEqual(all.map(({ id }) => id).toSorted());
        const most = Object.values(policy).reduce<number>((sum, n) => sum + Number(n), 0);
        expect(keep.length).toBeLessThanOrEqual(most);
        if (all.length === 0) return;
        expect(keep[0]!.backup.at).toBe(Math.max(...all.map(({ at }) => at)));
      }),
    );
  });

  it('keeps the same whether it is asked after every backup or once', () => {
    fc.assert(
      fc.property(policies, backups, (policy, all) => {
        let left: BackupEntry[] = [];
        for (const one of all.toSorted((a, b) => a.at - b.at)) {
          left = retain(policy, [...left, one], one.at).keep.map((entry) => entry.backup);
        }
        expect(left).toEqual(retain(policy, all, now).keep.map((entry) => entry.backup));
      }),
    );
  });
});
