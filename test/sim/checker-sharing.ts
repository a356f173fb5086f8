/** What snapshots and clones show, and that nobody takes it from them. */
import type { HeadSpec } from '../../src/engine/engine.ts';
import { isRevert } from '../../src/volume/invariant-marks.ts';
import { goesOnFrom, layersBelow } from '../../src/volume/lineage.ts';
import { clonesOf, episodesOf, placeOf, snapshotsOf } from '../../src/volume/marks.ts';
import type { Volume } from '../../src/volume/types.ts';
import { type Checks, type Known, short } from './checker-known.ts';
import { rotten } from './disk.ts';
import { overlay } from './layer-store.ts';

/** A record was created: of a clone, what it shows from now on below its own layers. */
export function begin(checker: Checks, known: Known, clone: Volume): void {
  if (clone.parent === undefined) return;
  known.below = belowNow(checker, clone);
  known.history.restart(known.below);
}

/** What the layers of ancestors hold that a volume shows. */
function belowNow(checker: Checks, volume: Volume): number[] {
  const below = layersBelow(volume, (id) => checker.record(id));
  if (below === null) {
    checker.fail(`${short(volume.id)} was cloned from layers that are not there (rule 4)`);
  }
  return overlay(below.map(({ home, layer }) => checker.known(home.id).sealed.get(layer.id) ?? []));
}

/** What is shown up to a layer of the chain. */
function shownUpTo(known: Known, volume: Volume, layer: string | null): number[] {
  const chain = volume.chain.slice(0, placeOf(volume, layer) + 1);
  return overlay([known.below, ...chain.map((l) => known.sealed.get(l.id) ?? [])]);
}

/** A snapshot, and a point that is backed up, shows for ever what it showed when it was made. */
export function checkSnapshots(checker: Checks, known: Known, volume: Volume): void {
  for (const snapshot of [...snapshotsOf(volume), ...episodesOf(volume)]) {
    const shown = shownUpTo(known, volume, snapshot.layer);
    const was = known.snapshots.get(snapshot.id);
    if (was === undefined) {
      known.snapshots.set(snapshot.id, shown);
      const { name } = snapshot;
      const group = 'group' in snapshot ? snapshot.group : undefined;
      if (group !== undefined) {
        checker.groups.add(group, { known, name, shown }, volume, checker.now());
      }
    } else if (was.join() !== shown.join()) {
      checker.fail(
        `snapshot ${snapshot.name} of ${short(volume.id)} shows ${shown.join()}, not ${was.join()} (rule 4)`,
      );
    }
  }
}

/** What was shipped is on the target: what the volume showed at that point, and nothing else. */
export function checkBackups(checker: Checks, known: Known, previous: Volume, next: Volume): void {
  for (const { id, name, backup } of episodesOf(next)) {
    const before = episodesOf(previous).find((e) => e.id === id);
    if (backup === undefined || before?.backup === backup) continue;
    const held = checker.backups.get(backup);
    const shown = known.snapshots.get(id) ?? [];
    // A copy that rotted unseen may have been read.
    const wrong = shown.some((value, block) => {
      const kept = held?.[block] ?? 0;
      return kept !== value && kept !== rotten;
    });
    if (held === undefined || wrong) {
      checker.fail(
        `backup ${name} of ${short(next.id)} holds ${held?.join()}, and not ${shown.join()}`,
      );
    }
    checker.counts.backups += 1;
  }
}

/** A volume that was reverted shows what its snapshot shows, and nothing that was written since. */
export function checkRevert(checker: Checks, known: Known, previous: Volume, next: Volume): void {
  const shorter = next.chain.length < previous.chain.length;
  if (!shorter || next.role !== previous.role || !isRevert(previous, next)) return;
  if (previous.attachments.length > 0) checker.fail(`${short(next.id)} is reverted while attached`);
  const top = next.chain.at(-1)?.id ?? null;
  const snapshot = snapshotsOf(next).find((s) => s.layer === top);
  const was = known.snapshots.get(snapshot?.id ?? '');
  const shown = shownUpTo(known, next, top);
  if (was?.join() !== shown.join()) {
    checker.fail(`the revert of ${short(next.id)} shows ${shown.join()}, not ${was?.join()}`);
  }
  checker.counts.reverts += 1;
  known.history.restart(shown);
}

/**
 * Every clone shows what it showed when it was made, and is noted where it goes on.
 * @param fresh was created just now: the note comes with it, in the same transaction.
 */
export function checkSharing(checker: Checks, fresh: Volume | null): void {
  for (const volume of checker.records()) {
    const { parent, tail } = volume;
    if (tail.phase === 'deleting') continue;
    const from = parent?.volume ?? volume.leaving?.volume;
    if (from === undefined || volume === fresh) continue;
    const home = checker.record(from);
    const noted = home !== undefined && clonesOf(home).some((c) => c.volume === volume.id);
    if (!noted || !goesOnFrom(volume, from)) {
      checker.fail(`${short(from)} has no note of its clone ${short(volume.id)} (rule 4)`);
    }
    if (parent === undefined) continue;
    const now = belowNow(checker, volume);
    const was = checker.known(volume.id).below;
    if (now.join() !== was.join()) {
      checker.fail(`clone ${short(volume.id)} shows ${now.join()}, not ${was.join()} (rule 4)`);
    }
  }
}

/** A head reads layers that show, one upon the other, what the volume shows. */
export function checkSources(checker: Checks, known: Known, { open, sealed }: HeadSpec): void {
  const { record } = known;
  const { tail } = record ?? {};
  // One of an epoch that is over serves nobody.
  if (record === null || tail?.phase !== 'open' || tail.layer.id !== open.layer.layer) return;
  const read = sealed.map(({ layer }) => checker.known(layer.volume).sealed.get(layer.layer));
  if (read.includes(undefined)) return;
  const shown = overlay(read.map((content) => content ?? [])).join();
  const expected = shownUpTo(known, record, record.chain.at(-1)?.id ?? null).join();
  if (shown === expected) return;
  checker.fail(`a head of ${short(record.id)} reads layers that show ${shown}, not ${expected}`);
}
