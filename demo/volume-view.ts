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

/** What keeps the volume from being settled, in words; see `isSettled`. */
export function unsettled(volume: VolumeView): string[] {
  const { layers } = volume.report;
  const texts = layers.flatMap((layer) => {
    if (layer.state !== 'sealed') {
      return layer.state === 'open' ? [] : [`layer ${layer.number} is ${layer.state}`];
    }
    const waiting = layer.copies.filter((copy) => copy.up && copy.state !== 'clean');
    const copies = waiting.map(({ node, state }) => `layer ${layer.number} on ${node} is ${state}`);
    return layer.bytes === null ? [`layer ${layer.number} has no checksums yet`, ...copies] : copies;
  });
  return texts;
}

/**
 * True when every copy on a live node is clean. Until then a copy that was being written at the
 * last fault is not yet compared with the one that decided, so that one must not be lost too.
 */
export function isSettled(volume: VolumeView): boolean {
  return unsettled(volume).length === 0;
}

/** One line about the volume for the display. */
export function describe(volume: VolumeView): string {
  const open = writeSet(volume);
  const tail = open.length === 0 ? 'nothing is open' : `written to ${open.join(', ')}`;
  const work = volume.report.work.map((item) => item.what);
  return [`epoch ${volume.epoch}, ${tail}; ${volume.summary}`, ...work].join(' ');
}
