/**
 * Checks the records against what is on disk and running (hscli cluster fsck). Pure: what is
 * compared comes as a scene. Things change while they are looked at, so a suspicion counts only when
 * a second look, a moment later, finds the same in a record that has not changed meanwhile.
 */
import { fileFindings } from './fsck-files.ts';
import { processFindings } from './fsck-processes.ts';
import { recordFindings } from './fsck-records.ts';
import type { FindingSeverity, FsckFinding, Scene } from './fsck-types.ts';

const rank: Record<FindingSeverity, number> = { error: 0, warning: 1, note: 2 };

/** Everything in a scene that is not as it should be, worst first. */
export function compare(scene: Scene): FsckFinding[] {
  return [...recordFindings(scene), ...fileFindings(scene), ...processFindings(scene)].sort(
    (a, b) => rank[a.severity] - rank[b.severity] || (keyOf(a) < keyOf(b) ? -1 : 1),
  );
}

/** The same finding at two looks has the same key. */
export function keyOf({ kind, volume, node, subject }: FsckFinding): string {
  return JSON.stringify([kind, volume, node, subject]);
}

/**
 * Findings of the second look that the first had too.
 * @param changed volumes whose record changed from before the first look to after the second: what
 *   was seen of them may belong to different moments.
 */
export function confirmed(
  first: readonly FsckFinding[],
  second: readonly FsckFinding[],
  changed: ReadonlySet<string>,
): FsckFinding[] {
  const seen = new Set(first.map(keyOf));
  return second.filter((f) => seen.has(keyOf(f)) && (f.volume === null || !changed.has(f.volume)));
}

/** Volumes that a suspicion at either look is about. */
export function suspected(...looks: (readonly FsckFinding[])[]): Set<string> {
  return new Set(looks.flat().flatMap((f) => f.volume ?? []));
}

/** A note that a volume could not be checked because its record did not stand still. */
export function unsettled(volume: { id: string; name: string }): FsckFinding {
  return {
    kind: 'volume-not-checked',
    severity: 'note',
    volume: volume.id,
    node: null,
    subject: '',
    what: `Volume ${volume.name} was not checked to the end.`,
    why: 'Its record changed at every look: it is being rolled, mended or merged.',
    action: 'Check again later: hscli cluster fsck --volume',
    fix: null,
  };
}
