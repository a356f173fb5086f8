/** The demo's volume as the API shows it. */
import type { VolumeDetailAnswer } from '../src/api/schemas.ts';

export type VolumeView = VolumeDetailAnswer;

/** The nodes that hold what is written now, sorted; empty while nothing is open. */
export function writeSet(volume: VolumeView): string[] {
  const open = volume.report.layers.find((layer) => layer.state === 'open');
  return (open?.copies ?? []).map((copy) => copy.node).sort();
}

/** True when exactly these nodes (sorted) hold what is written now. */
export function writesTo(volume: VolumeView, nodes: readonly string[]): boolean {
  return writeSet(volume).join() === nodes.join();
}

/**
 * What keeps the volume from being settled, in words: until every copy on a live node is clean, a
 * copy that was being written at the last fault is not yet compared with the one that decided, so
 * that one must not be lost too.
 * @param dead nodes that do not count; a node also counts as up for as long as its lease lasts
 */
export function unsettled(volume: VolumeView, dead: readonly string[] = []): string[] {
  return volume.report.layers.flatMap((layer) => {
    const { number, state, bytes } = layer;
    if (state === 'open') return [];
    if (state !== 'sealed') return [`layer ${number} is ${state}`];
    const copies = layer.copies
      .filter((copy) => copy.up && copy.state !== 'clean' && !dead.includes(copy.node))
      .map((copy) => `layer ${number} on ${copy.node} is ${copy.state}`);
    return bytes === null ? [`layer ${number} has no checksums yet`, ...copies] : copies;
  });
}

/** True when the volume is as the policy asks, every copy is clean and no work is left. */
export function isWhole(volume: VolumeView): boolean {
  const { state, layers, copiesWanted, work } = volume.report;
  const complete = layers.every(
    (layer) => layer.copies.filter((copy) => copy.up).length >= copiesWanted,
  );
  return state === 'healthy' && complete && work.length === 0 && unsettled(volume).length === 0;
}

/** One line about the volume for the display. */
export function describe(volume: VolumeView): string {
  const open = writeSet(volume);
  const tail = open.length === 0 ? 'nothing is open' : `written to ${open.join(', ')}`;
  const work = volume.report.work.map((item) => item.what);
  return [`epoch ${volume.epoch}, ${tail}; ${volume.summary}`, ...work].join(' ');
}
