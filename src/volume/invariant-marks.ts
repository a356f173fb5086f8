/** What holds of snapshots, clones and parents. Each function names what is wrong, or null. */
import { consumersOf } from './attachments.ts';
import { clonesOf, episodesOf, placeOf, sharedUpTo, snapshotsOf } from './marks.ts';
import type { LayerId, Volume } from './types.ts';

/** Checks one record by itself. */
export function wrongMarks(volume: Volume): string | null {
  const snapshots = snapshotsOf(volume);
  const clones = clonesOf(volume);
  const places = snapshots.map((s) => placeOf(volume, s.layer));
  const lost = snapshots.find((s, i) => s.layer !== null && places[i] === -1);
  if (lost !== undefined) return `snapshot ${lost.name} ends at a layer that is not there (rule 4)`;
  if (places.some((p, i) => p < (places[i - 1] ?? -1))) return 'its snapshots are not in order';
  if (hasTwins(snapshots.map((s) => s.id)) || hasTwins(snapshots.map((s) => s.name))) {
    return 'two snapshots have one name';
  }
  const misplaced = wrongEpisodes(volume);
  if (misplaced !== null) return misplaced;
  if (hasTwins(clones.map((c) => c.volume))) return 'a clone is noted twice';
  const orphan = clones.find((c) => placeOf(volume, c.layer) < 0);
  if (orphan !== undefined) return `clone ${orphan.volume} goes on from no layer (rule 4)`;
  if (volume.parent?.volume === volume.id) return 'it is its own parent';
  if (volume.merge?.below === true && volume.parent === undefined) return 'it flattens nothing';
  if (
    volume.view !== undefined &&
    snapshots.length + clones.length + consumersOf(volume).length > 1
  ) {
    return 'it is shown to one host, and something else hangs on it';
  }
  const { phase } = volume.tail;
  if (volume.role !== undefined && phase !== 'idle' && phase !== 'deleting') {
    return `it is ${article(volume.role)} and ${phase}`;
  }
  if (volume.role !== undefined && volume.attachments.length > 0) {
    return `it is ${article(volume.role)} and attached`;
  }
  const used = volume.attachments.length + volume.chain.length + snapshots.length + clones.length;
  if (volume.importing !== undefined && (used > 0 || phase !== 'idle')) {
    return 'it is used before it is imported';
  }
  const marks = snapshots.length + clones.length + episodesOf(volume).length;
  if (phase === 'deleting' && marks > 0) {
    return 'it is deleted with snapshots, episodes or clones';
  }
  const lowest = volume.merge?.layers[0];
  return lowest !== undefined && placeOf(volume, lowest) <= sharedUpTo(volume)
    ? 'it merges what a clone sees (rule 4)'
    : null;
}

/** Episodes end at layers that are there, in order, and one target has one base at most. */
function wrongEpisodes(volume: Volume): string | null {
  const episodes = episodesOf(volume);
  const places = episodes.map((e) => placeOf(volume, e.layer));
  const lost = episodes.find((e, i) => e.layer !== null && places[i] === -1);
  if (lost !== undefined) return `episode ${lost.name} ends at a layer that is not there (rule 4)`;
  if (places.some((p, i) => p < (places[i - 1] ?? -1))) return 'its episodes are not in order';
  if (hasTwins(episodes.map((e) => e.id))) return 'two episodes have one id';
  const bases = episodes.filter((e) => e.backup !== undefined);
  if (hasTwins(bases.map((e) => e.target))) return 'a target has two bases';
  const isPlain = volume.role === undefined;
  return isPlain || (episodes.length === 0 && volume.episodePlan === undefined)
    ? null
    : `it is ${article(volume.role ?? '')} and backed up`;
}

/** Checks a step: what a snapshot or a clone shows stays what it is (rule 4). */
export function lostMarks(before: Volume, after: Volume): string | null {
  if (JSON.stringify(before.view) !== JSON.stringify(after.view)) return 'it shows something else';
  if (before.role === 'base' && after.role !== 'base') return 'a base became something else';
  for (const snapshot of snapshotsOf(before)) {
    const now = snapshotsOf(after).find((s) => s.id === snapshot.id);
    if (now === undefined) {
      if (snapshot.protected === true && !isGivenUp(before, after))
        return `snapshot ${snapshot.name} is protected`;
      continue;
    }
    const was = snapshot.layer;
    const begun = was === null && isFlattened(before, after) ? before.merge?.into : undefined;
    if (now.layer !== was && now.layer !== mergedInto(before, was) && now.layer !== begun) {
      return `snapshot ${snapshot.name} shows something else (rule 4)`;
    }
    if (now.sizeBytes !== snapshot.sizeBytes) return `snapshot ${snapshot.name} has another size`;
  }
  const changedEpisode = movedEpisode(before, after);
  if (changedEpisode !== null) return changedEpisode;
  // Also what a clone saw that is forgotten now: a step does one of both.
  const seen = before.chain.slice(0, sharedUpTo(before) + 1);
  const changed = seen.find((l, i) => after.chain[i]?.id !== l.id);
  if (changed !== undefined) return `layer ${changed.epoch} changed under a clone (rule 4)`;
  const moved = clonesOf(after).find((c) =>
    clonesOf(before).some((b) => b.volume === c.volume && b.layer !== c.layer),
  );
  if (moved !== undefined) return `clone ${moved.volume} goes on from another layer`;
  const same = JSON.stringify(before.parent) === JSON.stringify(after.parent);
  return same || isFlattened(before, after) ? null : 'it goes on from something else';
}

/** An operator decided to go on without some of its data. */
function isGivenUp(before: Volume, after: Volume): boolean {
  return (after.losses?.length ?? 0) > (before.losses?.length ?? 0);
}

/** An episode shows what it showed, and what was shipped stays so: else a backup would be wrong. */
function movedEpisode(before: Volume, after: Volume): string | null {
  for (const episode of episodesOf(before)) {
    const now = episodesOf(after).find((e) => e.id === episode.id);
    if (now === undefined) continue;
    const was = episode.layer;
    const begun = was === null && isFlattened(before, after) ? before.merge?.into : undefined;
    if (now.layer !== was && now.layer !== mergedInto(before, was) && now.layer !== begun) {
      return `episode ${episode.name} shows something else (rule 4)`;
    }
    if (now.sizeBytes !== episode.sizeBytes) return `episode ${episode.name} has another size`;
    const stays = episode.backup === undefined || now.backup === episode.backup;
    if (!stays || now.target !== episode.target)
      return `episode ${episode.name} was shipped already`;
  }
  return null;
}

/** The volume was made what it was at one of its snapshots, while nobody used it. */
export function isRevert(before: Volume, after: Volume): boolean {
  const top = after.chain.at(-1)?.id ?? null;
  return (
    before.tail.phase === 'idle' &&
    after.tail.phase === 'idle' &&
    after.chain.length <= before.chain.length &&
    after.chain.every((l, i) => l.id === before.chain[i]?.id) &&
    snapshotsOf(after).some((s) => s.layer === top && s.sizeBytes === after.sizeBytes)
  );
}

/** All below the chain is in a layer of its own, and no clone read it through this record. */
function isFlattened(before: Volume, after: Volume): boolean {
  return (
    before.merge?.below === true &&
    after.parent === undefined &&
    after.chain[0]?.id === before.merge.into &&
    after.leaving?.volume === before.parent?.volume &&
    clonesOf(before).length === 0
  );
}

/** The volume was deleted, and what clones see of it stays. */
export function becameBase(before: Volume, after: Volume): boolean {
  return before.role !== 'base' && after.role === 'base';
}

/** What a layer is part of when the merge under way is over. */
function mergedInto(volume: Volume, layer: LayerId | null): LayerId | null {
  const { merge } = volume;
  return merge !== null && merge.layers.at(-1) === layer ? merge.into : null;
}

function hasTwins(values: readonly string[]): boolean {
  return new Set(values).size !== values.length;
}

function article(role: string): string {
  return role === 'image' ? 'an image' : 'a base';
}
