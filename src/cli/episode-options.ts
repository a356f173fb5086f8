import type { Command } from 'commander';
import type { EpisodePlanWishes } from '../api/backup-schemas.ts';
import { HyperscaleError } from '../errors.ts';

/** Options that say how a volume is backed up by itself, as they were typed. */
export type EpisodeOptions = {
  episode?: string;
  backupTarget?: string;
  keepLast?: string;
  keepHourly?: string;
  keepDaily?: string;
  keepWeekly?: string;
  keepMonthly?: string;
  keepYearly?: string;
};

type Keep = EpisodePlanWishes['keep'];

const minutes: Record<string, number> = { m: 1, h: 60, d: 1440 };
const hint = 'Give minutes, hours or days, such as 15m, 4h or 1d; or off.';

export function episodeOptions(command: Command): Command {
  return command
    .option('--episode <time>', 'back it up so often: 15m, 4h or 1d; or off')
    .option('--backup-target <target>', 'where to; see hscli backup targets')
    .option('--keep-last <n>', 'how many of these backups are kept: the newest')
    .option('--keep-hourly <n>', 'of so many hours the newest')
    .option('--keep-daily <n>', 'of so many days')
    .option('--keep-weekly <n>', 'of so many weeks')
    .option('--keep-monthly <n>', 'of so many months')
    .option('--keep-yearly <n>', 'of so many years');
}

/**
 * The plan that the options ask for, over the one that there is; undefined when they say nothing.
 * @throws `bad-input`
 */
export function givenPlan(
  options: EpisodeOptions,
  before: EpisodePlanWishes | null,
): EpisodePlanWishes | null | undefined {
  const { backupTarget, episode } = options;
  const keep = givenKeep(options);
  const says = backupTarget !== undefined || Object.keys(keep).length > 0;
  if (episode === 'off') {
    if (!says) return null;
    throw new HyperscaleError('bad-input', '--episode off goes with no other wish for backups');
  }
  if (episode === undefined && !says) return undefined;
  const target = backupTarget ?? before?.target;
  const everyMinutes = episode === undefined ? before?.everyMinutes : minutesIn(episode);
  if (target === undefined || everyMinutes === undefined) {
    throw new HyperscaleError('bad-input', 'the volume has no plan of backups yet', {
      hint: 'Give all of it: --episode 15m --backup-target nas --keep-last 96 --keep-daily 14',
    });
  }
  return { target, everyMinutes, keep: Object.keys(keep).length > 0 ? keep : (before?.keep ?? {}) };
}

function givenKeep(options: EpisodeOptions): Keep {
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly } = options;
  const given = {
    last: keepLast,
    hourly: keepHourly,
    daily: keepDaily,
    weekly: keepWeekly,
    monthly: keepMonthly,
    yearly: keepYearly,
  };
  const entries = Object.entries(given).filter((e): e is [string, string] => e[1] !== undefined);
  return Object.fromEntries(entries.map(([rule, text]) => [rule, countIn(rule, text)]));
}

function minutesIn(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const factor = minutes[unit];
  if (count !== undefined && factor !== undefined) return Number(count) * factor;
  throw new HyperscaleError('bad-input', `${JSON.stringify(text)} is no time between backups`, {
    hint,
  });
}

function countIn(rule: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new HyperscaleError('bad-input', `--keep-${rule} ${JSON.stringify(text)} is no number`);
}

/** A plan in words. */
export function planText(plan: EpisodePlanWishes | null): string {
  if (plan === null) return 'none';
  const kept = Object.entries(plan.keep).map(([rule, count]) => `${count} ${rule}`);
  return `every ${everyText(plan.everyMinutes)} to ${plan.target}; kept: ${kept.join(', ')}`;
}

function everyText(all: number): string {
  if (all % 1440 === 0) return `${all / 1440} d`;
  return all % 60 === 0 ? `${all / 60} h` : `${all} min`;
}
