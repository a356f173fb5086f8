/** Which backups of a volume to keep: by count and by calendar. Pure. */
import { HyperscaleError } from '../errors.ts';
import { type BackupEntry, compareEntries } from './entry.ts';

/**
 * For each rule: how many to keep. The calendar is UTC's, weeks begin on Monday. Of each period the
 * newest backup is kept; only periods that have a backup count, so that a volume that was not backed
 * up for a month loses nothing by it.
 */
export type RetentionPolicy = {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
};

/** Backups, each with the rules that keep it, and those that no rule keeps; the newest first. */
export type Retained<T> = {
  keep: { backup: T; because: (keyof RetentionPolicy | 'held' | 'future')[] }[];
  remove: T[];
};

type Kept = Retained<BackupEntry>['keep'][number];

const rules: Record<keyof RetentionPolicy, (at: Date, index: number) => string> = {
  last: (_, index) => String(index),
  hourly: (at) => at.toISOString().slice(0, 13),
  daily: (at) => at.toISOString().slice(0, 10),
  weekly: mondayOf,
  monthly: (at) => at.toISOString().slice(0, 7),
  yearly: (at) => at.toISOString().slice(0, 4),
};
const ruleNames = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
const maxCount = 100_000;

/**
 * @param now ms since 1970; backups of a later time come from a clock that was wrong: they are kept
 * and take nobody's place.
 * @param held ids of backups to keep whatever the rules say; they count as any other.
 * @throws `bad-input` when a count is no count, or when no rule would keep anything.
 */
export function retain<T extends BackupEntry>(
  policy: RetentionPolicy,
  backups: readonly T[],
  now: number,
  held: ReadonlySet<string> = new Set(),
): Retained<T> {
  checkPolicy(policy);
  const newestFirst = backups.toSorted((a, b) => b.at - a.at || -compareEntries(a, b));
  const because = new Map<T, Kept['because']>(newestFirst.map((backup) => [backup, []]));
  const note = (backup: T, reason: Kept['because'][number]) => because.get(backup)?.push(reason);
  const past = newestFirst.filter(({ at }) => at <= now);
  for (const rule of ruleNames) {
    const seen = new Set<string>();
    for (const [index, backup] of past.entries()) {
      if (seen.size >= (policy[rule] ?? 0)) break;
      const period = rules[rule](new Date(backup.at), index);
      if (!seen.has(period)) note(backup, rule);
      seen.add(period);
    }
  }
  for (const backup of newestFirst) {
    if (held.has(backup.id)) note(backup, 'held');
    if (backup.at > now) note(backup, 'future');
  }
  const all = [...because].map(([backup, reasons]) => ({ backup, because: reasons }));
  return {
    keep: all.filter((one) => one.because.length > 0),
    remove: all.filter((one) => one.because.length === 0).map(({ backup }) => backup),
  };
}

/** @throws `bad-input`. */
export function checkPolicy(policy: RetentionPolicy): void {
  const counts = ruleNames.map((rule) => policy[rule] ?? 0);
  const unknown = Object.keys(policy).filter((rule) => !(rule in rules));
  if (unknown.length > 0) {
    throw new HyperscaleError('bad-input', `retention has no rule ${unknown.join(', ')}`, {
      hint: `The rules are ${ruleNames.join(', ')}.`,
    });
  }
  if (counts.some((count) => !Number.isInteger(count) || count < 0 || count > maxCount)) {
    throw new HyperscaleError(
      'bad-input',
      `retention ${JSON.stringify(policy)} has no valid count`,
      {
        hint: `A count is a whole number from 0 to ${maxCount}.`,
      },
    );
  }
  if (counts.every((count) => count === 0)) {
    throw new HyperscaleError('bad-input', 'this retention would keep no backup at all', {
      hint: 'Give at least one rule a count; to remove all backups, name them.',
    });
  }
}

/** The day on which the week of a time began. */
function mondayOf(at: Date): string {
  const day = new Date(at);
  day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 6) % 7));
  return day.toISOString().slice(0, 10);
}
