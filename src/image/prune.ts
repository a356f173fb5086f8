/** Which images go, so that no more than a number, or an amount of data, stays. */

export type PrunableImage = {
  name: string;
  state: 'importing' | 'ready';
  /** Bytes that one copy takes. */
  bytes: number | null;
  createdAt: string;
  /** When a volume was last made from it; null: never. */
  usedAt: string | null;
};

/** What stays at most; null: no bound. `keep` stays in any case, by name or by id. */
export type PruneBounds = {
  maxCount: number | null;
  /** Bytes that one copy of each takes, all together. */
  maxBytes: number | null;
  keep: readonly string[];
};

/**
 * The images to delete, those first that were not used for the longest time: the newest stay as long
 * as there is room. One that is being imported stays, and counts as one without data.
 */
export function imagesToPrune<T extends PrunableImage & { id: string }>(
  images: readonly T[],
  { maxCount, maxBytes, keep }: PruneBounds,
): T[] {
  const stays = (image: T) =>
    image.state === 'importing' || keep.includes(image.name) || keep.includes(image.id);
  let count = images.length;
  let bytes = images.reduce((sum, image) => sum + (image.bytes ?? 0), 0);
  const gone: T[] = [];
  for (const image of images.filter((i) => !stays(i)).sort(byUse)) {
    const tooMany = maxCount !== null && count > maxCount;
    const tooLarge = maxBytes !== null && bytes > maxBytes;
    if (!tooMany && !tooLarge) break;
    gone.push(image);
    count -= 1;
    bytes -= image.bytes ?? 0;
  }
  return gone;
}

function byUse(a: PrunableImage, b: PrunableImage): number {
  return lastUse(a) - lastUse(b) || (a.name < b.name ? -1 : 1);
}

function lastUse({ usedAt, createdAt }: PrunableImage): number {
  return Date.parse(usedAt ?? createdAt);
}
