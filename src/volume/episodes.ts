/**
 * Episodes: points in time of a volume that are, or were, to be shipped to a backup target. Like a
 * snapshot, an episode is a mark on a sealed layer, so what it shows is not merged with newer layers.
 * It stays until it is shipped, and then as the base of the next one: what the layers above it hold is
 * all that changed since.
 */
import { HyperscaleError } from '../errors.ts';
import { isNameless } from './delete.ts';
import { calledIn, episodesOf, loosened, placeOf, withMarks } from './marks.ts';
import { sealedSize } from './queries.ts';
import { refuse } from './refuse.ts';
import { findSnapshot } from './snapshots.ts';
import type { Episode, EpisodePlan, NodeName, Retention, Volume } from './types.ts';

/** Backups of one volume that were asked for and wait to be shipped. */
export const maxAskedEpisodes = 8;
/** Targets that a volume has a base for, beside that of its plan. */
export const maxBases = 4;
export const maxEpisodeMinutes = 366 * 24 * 60;
const maxKept = 100_000;
/** Names of backups that the plan made begin with it; only those are subject to retention. */
export const plannedPrefix = 'episode-';

const retentionRules = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/**
 * Sets the plan, or takes it away with all that it keeps of the volume. Backups stay where they are.
 * @throws `bad-input`, `not-allowed` for what never changes, `conflict` when it is being deleted
 */
export function setEpisodePlan(volume: Volume, plan: EpisodePlan | null): Volume {
  const before = volume.episodePlan;
  if (JSON.stringify(before ?? null) === JSON.stringify(plan)) return volume;
  if (plan !== null) checkPlan(volume, plan);
  const { episodePlan: _, ...rest } = volume;
  const changed: Volume = plan === null ? rest : { ...rest, episodePlan: plan };
  if (before === undefined || before.target === plan?.target) return changed;
  const over = episodesOf(volume).filter(
    (e) => e.target === before.target && (e.backup !== undefined || e.asked === undefined),
  );
  return over.reduce((v, { id }) => dropEpisode(v, id), changed);
}

/** @throws `bad-input` for a plan that cannot be kept */
export function checkPlan(volume: Volume, { everyMinutes, keep }: EpisodePlan): void {
  if (isNameless(volume)) refuse(volume, 'plan of backups', 'it is being deleted');
  if (volume.role !== undefined) throw neverChanges(volume);
  if (!Number.isInteger(everyMinutes) || everyMinutes < 1 || everyMinutes > maxEpisodeMinutes) {
    throw new HyperscaleError('bad-input', `a backup every ${everyMinutes} minutes cannot be`, {
      hint: `Choose 1 to ${maxEpisodeMinutes} minutes.`,
    });
  }
  checkKeep(keep);
}

function checkKeep(keep: Retention): void {
  const counts = retentionRules.map((rule) => keep[rule] ?? 0);
  if (counts.some((n) => !Number.isInteger(n) || n < 0 || n > maxKept)) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(keep)} are no counts of backups`, {
      hint: `A count is a whole number from 0 to ${maxKept}.`,
    });
  }
  if (counts.some((n) => n > 0)) return;
  throw new HyperscaleError('bad-input', 'this plan would keep no backup', {
    hint: 'Say how many: --keep-last 24 --keep-daily 7',
  });
}

export type EpisodeWish = Pick<Episode, 'id' | 'name' | 'target' | 'at' | 'asked'>;

/**
 * Keeps what is sealed now until it is shipped. With the same id again it changes nothing.
 * @throws `conflict` while an epoch is being begun or ended, `not-allowed` when too many wait, or for
 *   what never changes.
 */
export function beginEpisode(volume: Volume, wish: EpisodeWish): Volume {
  const { phase } = volume.tail;
  if (episodesOf(volume).some((e) => e.id === wish.id)) return volume;
  if (phase !== 'idle' && phase !== 'open') refuse(volume, 'backup', `it is ${phase}`);
  const layer = volume.chain.at(-1)?.id ?? null;
  return withEpisode(volume, { ...wish, layer, sizeBytes: sealedSize(volume) });
}

/** As `beginEpisode`, of what a snapshot shows. @throws `not-found` */
export function beginEpisodeOf(
  volume: Volume,
  snapshot: string,
  wish: Omit<EpisodeWish, 'at'>,
): Volume {
  if (episodesOf(volume).some((e) => e.id === wish.id)) return volume;
  const { createdAt, layer, sizeBytes } = findSnapshot(volume, snapshot);
  return withEpisode(volume, { ...wish, at: createdAt, layer, sizeBytes });
}

function withEpisode(volume: Volume, episode: Episode): Volume {
  if (volume.importing !== undefined) refuse(volume, 'backup', 'it is being imported');
  if (volume.role !== undefined) throw neverChanges(volume);
  const waiting = pendingEpisodes(volume);
  if (episode.asked === undefined && waiting.some((e) => e.asked === undefined)) {
    // A planned one waits already: it is shipped first, then the next one is made.
    refuse(volume, 'backup', 'the episode before is not shipped yet');
  }
  if (waiting.filter((e) => e.asked === true).length >= maxAskedEpisodes) {
    throw new HyperscaleError(
      'not-allowed',
      `${waiting.length} backups of volume ${volume.name} wait to be written, which is the most`,
      {
        hint: `Wait for them, or cancel some: hscli backup status ${volume.name}`,
        values: { volume: volume.id, limit: maxAskedEpisodes },
      },
    );
  }
  const place = placeOf(volume, episode.layer);
  const all = episodesOf(volume);
  const at = all.findIndex((e) => placeOf(volume, e.layer) > place);
  const before = at < 0 ? all.length : at;
  return withMarks(volume, { episodes: [...all.slice(0, before), episode, ...all.slice(before)] });
}

/** Those that are not shipped, in the order in which they are: planned ones last. */
export function pendingEpisodes(volume: Volume): Episode[] {
  const waiting = episodesOf(volume).filter((e) => e.backup === undefined);
  return waiting.sort((a, b) => Number(b.asked === true) - Number(a.asked === true));
}

/** The newest point that is on the target and that the episode goes on from, or null. */
export function baseOf(volume: Volume, episode: Episode): Episode | null {
  const place = placeOf(volume, episode.layer);
  const bases = basesOn(volume, episode.target);
  return (
    bases.filter((e) => e.id !== episode.id && placeOf(volume, e.layer) <= place).at(-1) ?? null
  );
}

/** Episodes that are on a target, oldest first. */
export function basesOn(volume: Volume, target: string): Episode[] {
  return episodesOf(volume).filter((e) => e.target === target && e.backup !== undefined);
}

/**
 * An episode is on its target, in that backup. Of those there only the newest stays in the record, as
 * the base of the next one. One that is not there any more changes nothing.
 */
export function recordShipped(volume: Volume, id: string, backup: string): Volume {
  const episode = episodesOf(volume).find((e) => e.id === id);
  if (episode === undefined || episode.backup !== undefined) return volume;
  const { failed: _, ...rest } = episode;
  const shipped = withMarks(volume, {
    episodes: episodesOf(volume).map((e) => (e.id === id ? { ...rest, backup } : e)),
  });
  const older = basesOn(shipped, episode.target).slice(0, -1);
  const one = older.reduce((v, base) => dropEpisode(v, base.id), shipped);
  const other = episodesOf(one).filter(
    (e) => e.backup !== undefined && e.target !== one.episodePlan?.target,
  );
  const oldest = other.toSorted((a, b) => (a.at < b.at ? -1 : 1)).slice(0, -maxBases);
  return oldest.reduce((v, base) => dropEpisode(v, base.id), one);
}

/** A node could not ship it; others are tried before it. When all have failed, all are tried again. */
export function recordFailed(
  volume: Volume,
  id: string,
  node: NodeName,
  able: readonly NodeName[],
): Volume {
  const episode = episodesOf(volume).find((e) => e.id === id);
  if (episode === undefined || episode.backup !== undefined) return volume;
  const all = [...new Set([...(episode.failed ?? []), node])];
  const { failed: _, ...rest } = episode;
  const failed = able.every((name) => all.includes(name)) ? [] : all;
  const noted = failed.length === 0 ? rest : { ...rest, failed };
  if (JSON.stringify(noted) === JSON.stringify(episode)) return volume;
  return withMarks(volume, {
    episodes: episodesOf(volume).map((e) => (e.id === id ? noted : e)),
  });
}

/** Forgets an episode; its layer may be merged again. One that is not there is fine. */
export function dropEpisode(volume: Volume, id: string): Volume {
  const episode = episodesOf(volume).find((e) => e.id === id);
  if (episode === undefined) return volume;
  const left = withMarks(volume, { episodes: episodesOf(volume).filter((e) => e !== episode) });
  return loosened(left, episode.layer);
}

function neverChanges(volume: Volume): HyperscaleError {
  return new HyperscaleError('not-allowed', `${calledIn(volume)} never changes`, {
    hint: `Back up a volume that is made from it: hscli volume clone ${calledIn(volume)} NAME`,
    values: { volume: volume.id },
  });
}
