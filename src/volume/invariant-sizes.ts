/** What holds of the sizes of a volume and of its layers. Each function names what is wrong, or null. */
import { isRevert } from './invariant-marks.ts';
import { unsealedLayer } from './queries.ts';
import type { Volume } from './types.ts';

/** A newer layer is as large as an older one or larger, and the size reported is that of the newest. */
export function wrongSizes(volume: Volume): string | null {
  const { tail, chain, sizeBytes } = volume;
  if (tail.phase === 'deleting') return null;
  const unsealed = unsealedLayer(volume);
  const next = tail.phase === 'opening' ? [tail.next] : [];
  const layers = [...chain, ...(unsealed === null ? [] : [unsealed]), ...next];
  const begun = volume.parent?.sizeBytes ?? 0;
  if (sizeBytes < begun) return `it is smaller than what it was cloned from`;
  const smaller = layers.find((l, i) => l.sizeBytes < (layers[i - 1]?.sizeBytes ?? begun));
  if (smaller !== undefined) return `layer ${smaller.epoch} is smaller than one below it`;
  const shown = unsealed ?? (tail.phase === 'opening' ? tail.next : null);
  if (shown !== null && shown.sizeBytes !== sizeBytes) {
    return `it has ${sizeBytes} bytes, and layer ${shown.epoch} has ${shown.sizeBytes}`;
  }
  return (chain.at(-1)?.sizeBytes ?? 0) > sizeBytes ? 'a layer is larger than the volume' : null;
}

/** A volume grows while nobody writes it, or when a layer that was prepared larger is opened. */
export function wrongGrowth(before: Volume, after: Volume): string | null {
  if (after.sizeBytes < before.sizeBytes && !isRevert(before, after)) return 'it became smaller';
  if (after.sizeBytes > before.sizeBytes) {
    const idle = before.tail.phase === 'idle' && after.tail.phase === 'idle';
    const confirmed =
      before.tail.phase === 'opening' &&
      after.tail.phase === 'open' &&
      before.tail.next.sizeBytes === after.sizeBytes;
    if (!idle && !confirmed) return 'it grew without a layer that was prepared for it';
  }
  const into = after.chain.find((l) => l.id === before.merge?.into);
  const cut = before.chain.find(
    (l) => before.merge?.layers.includes(l.id) === true && l.sizeBytes > (into?.sizeBytes ?? 0),
  );
  return into !== undefined && cut !== undefined
    ? `the merge is smaller than layer ${cut.epoch}, which is in it`
    : null;
}
