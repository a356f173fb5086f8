import { describe, expect, test } from 'vitest';
import type { BackupEntry } from '../../src/backup/entry.ts';
import { type BackupWish, chooseBackup, restoredSize } from '../../src/restore/choose.ts';

const id = (digit: string, last = digit) => `${digit.repeat(31)}${last}`;
const hour = 3_600_000;

function entry(of: Partial<BackupEntry>): BackupEntry {
  return {
    ...{ volume: 'v1', volumeName: 'db1', id: id('a'), at: 0, name: 'b' },
    ...{ sizeBytes: 4_096, storedBytes: 0 },
    ...of,
  };
}

const entries = [
  entry({ id: id('b'), at: 2 * hour }),
  entry({ id: id('a'), at: hour }),
  entry({ id: id('a', 'f'), at: 3 * hour }),
  entry({ id: id('c'), volume: 'v2', volumeName: 'web' }),
  entry({ id: id('d'), volume: 'v3', volumeName: 'web' }),
  entry({ id: id('e'), volume: 'db1', volumeName: 'other', at: hour }),
];

const chosen = (wish: BackupWish, from = entries) => chooseBackup(from, wish, 'nas').id;
const refusal = (wish: BackupWish) => {
  try {
    return chosen(wish);
  } catch (error) {
    return String(error);
  }
};

describe('chooseBackup', () => {
  test('takes an id, or as much of one as tells it apart', () => {
    expect(chosen({ backup: id('a') })).toBe(id('a'));
    expect(chosen({ backup: 'bbbbbbbb' })).toBe(id('b'));
    expect(refusal({ backup: 'aaaaaaaa' })).toMatch(/2 backups in nas begin with/);
    expect(refusal({ backup: 'bbbb' })).toMatch(/no backup bbbb in target nas/);
    expect(refusal({ backup: id('f') })).toMatch(/no backup/);
  });

  test('takes the newest one of a volume, up to a time', () => {
    expect(chosen({ volume: 'v1', at: null })).toBe(id('a', 'f'));
    expect(chosen({ volume: 'v1', at: 2 * hour })).toBe(id('b'));
    expect(chosen({ volume: 'v1', at: 2 * hour - 1 })).toBe(id('a'));
    expect(refusal({ volume: 'v1', at: hour - 1 })).toMatch(/1970-01-01T00:59:59.999Z or before/);
    expect(refusal({ volume: 'nobody', at: null })).toMatch(/nobody has no backup/);
  });

  test('takes an id before a name, and no name that several volumes had', () => {
    expect(chosen({ volume: 'db1', at: null })).toBe(id('e'));
    expect(
      chosen(
        { volume: 'db1', at: null },
        entries.filter((e) => e.volume !== 'db1'),
      ),
    ).toBe(id('a', 'f'));
    expect(refusal({ volume: 'web', at: null })).toMatch(/2 volumes of the name web/);
  });
});

test('a volume is as large as its backup, and as volumes are', () => {
  expect(restoredSize(1)).toBe(2 ** 20);
  expect(restoredSize(2 ** 30)).toBe(2 ** 30);
  expect(restoredSize(2 ** 30 + 1)).toBe(2 ** 30 + 4_096);
  expect(() => restoredSize(2 ** 50)).toThrow(/fits into no volume/);
});
