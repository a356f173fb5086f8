/** Writing into a file with holes without filling them with zeros. */
import type { FileHandle } from 'node:fs/promises';
import { writeAll } from './durable.ts';
import type { Extent } from './engine.ts';

export const chunkBytes = 1 << 20;
/** File systems make no smaller holes. */
const blockBytes = 4096;
const zeros = Buffer.alloc(blockBytes);

/** The extents that have a part in each chunk. */
export function byChunk(extents: readonly Extent[]): Map<number, Extent[]> {
  const chunks = new Map<number, Extent[]>();
  for (const extent of extents) {
    const last = Math.floor((extent.offset + extent.length - 1) / chunkBytes);
    for (let i = Math.floor(extent.offset / chunkBytes); i <= last; i += 1) {
      chunks.set(i, [...(chunks.get(i) ?? []), extent]);
    }
  }
  return chunks;
}

/**
 * Writes bytes, but for blocks of zeros where the file has a hole. What is in data is written also where
 * it seems to be there: the disk may hold something else than a cache.
 * @param data where the file holds data, around these bytes.
 */
export async function writeSparsely(
  file: FileHandle,
  bytes: Buffer,
  offset: number,
  data: readonly Extent[],
): Promise<void> {
  const isNeeded = (from: number) => {
    const block = bytes.subarray(from, from + blockBytes);
    if (!block.equals(zeros.subarray(0, block.length))) return true;
    const [begin, end] = [offset + from, offset + from + block.length];
    return data.some((e) => e.offset < end && e.offset + e.length > begin);
  };
  for (let from = 0; from < bytes.length; ) {
    let to = from;
    while (to < bytes.length && isNeeded(to)) to += blockBytes;
    const end = Math.min(to, bytes.length);
    if (end > from) await writeAll(file, bytes.subarray(from, end), offset + from);
    from = to + blockBytes;
  }
}
