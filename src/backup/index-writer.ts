/** Writes a backup's index: the parent's pages where nothing changed, new ones elsewhere. */
import { isHyperscaleError } from '../errors.ts';
import type { ChunkSet } from './changed.ts';
import type { ChunkWriter } from './chunk-writer.ts';
import type { Marks } from './marks.ts';
import type { Objects } from './objects.ts';
import { forEachParallel } from './parallel.ts';
import { pageChunks, type Ref, RefList } from './refs.ts';
import { pageLength, type Shape } from './shape.ts';

/** The backup that a new one builds on, as far as the new one needs it. */
export type ParentIndex = { shape: Shape; root: RefList };

/**
 * The root of the parent's index, without what cannot be used; null without a parent, or when the
 * root itself is lost. Adds to `chunks` all that has to be read from the volume because of it.
 */
export async function usableParent(
  objects: Objects,
  volume: string,
  parent: { shape: Shape; root: Ref | null } | null,
  chunks: ChunkSet,
  marks: Marks,
  signal: AbortSignal | undefined,
): Promise<ParentIndex | null> {
  if (parent === null) return null;
  const root = await unlessDamaged(() => objects.root(volume, parent.shape, parent.root, signal));
  if (root === null || (parent.root !== null && marks.has(parent.root))) {
    chunks.addAll();
    return null;
  }
  const index = { shape: parent.shape, root };
  // The last chunk of the parent, and of the volume now, may be shorter than in the other.
  if (parent.shape.sizeBytes !== chunks.shape.sizeBytes) {
    chunks.add(Math.min(parent.shape.chunks, chunks.shape.chunks) - 1);
  }
  if (!marks.none) await addMarked(objects, volume, index, chunks, marks, signal);
  return index;
}

/** Looks through the whole index for what is known to be bad. */
async function addMarked(
  objects: Objects,
  volume: string,
  parent: ParentIndex,
  chunks: ChunkSet,
  marks: Marks,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { root, shape } = parent;
  const pages = Math.min(shape.pages, chunks.shape.pages);
  for (let number = 0; number < pages; number += 1) {
    const ref = root.get(number);
    if (ref === null) continue;
    const page = marks.has(ref)
      ? null
      : await unlessDamaged(() => objects.page(volume, shape, number, ref, signal));
    if (page === null) {
      chunks.addPage(number);
      continue;
    }
    const length = Math.min(page.length, pageLength(chunks.shape, number));
    for (let place = 0; place < length; place += 1) {
      const chunk = page.get(place);
      if (chunk !== null && marks.has(chunk)) chunks.add(number * pageChunks + place);
    }
  }
}

/** A page that is being made. */
type OpenPage = {
  number: number;
  refs: Promise<{ refs: RefList; lost: boolean }>;
  parentRef: Ref | null;
  /** Chunks of it that are not stored yet. */
  waiting: number;
};

type Item = { page: OpenPage; place: number };

export type IndexOptions = {
  objects: Objects;
  volume: string;
  parent: ParentIndex | null;
  /** Where the parent's root lies. */
  parentRoot: Ref | null;
  chunks: ChunkSet;
  writer: ChunkWriter;
  /** Chunks that are read and stored at once. */
  width: number;
  /** Called after each chunk. */
  afterChunk: () => Promise<void>;
  signal: AbortSignal | undefined;
};

/** Stores the chunks of the set and all new pages. @returns the root of the new index. */
export async function writeIndex(options: IndexOptions): Promise<Ref | null> {
  const { chunks, width, writer } = options;
  const root = RefList.zeros(chunks.shape.pages);
  await forEachParallel(items(options, root), width, async ({ page, place }) => {
    const { lost, refs } = await page.refs;
    if (!lost) await storeChunk(options, page, refs, place);
    page.waiting -= 1;
    if (page.waiting > 0) return;
    // The parent's page turned out to be damaged: its other chunks are read as well.
    for (let other = 0; lost && other < refs.length; other += 1) {
      await storeChunk(options, page, refs, other);
    }
    root.set(page.number, refs.isZero() ? null : await storePage(options, page, refs));
  });
  if (root.isZero()) return null;
  return await writer.storeContent('root', root.encode(), options.parentRoot);
}

/** The chunks to store, ascending. Sets in `root` what the parent has of the other pages. */
async function* items(options: IndexOptions, root: RefList): AsyncIterable<Item> {
  const { afterChunk, chunks, parent } = options;
  for (let number = 0; number < chunks.shape.pages; number += 1) {
    const places = [...chunks.inPage(number)];
    const inParent = parent !== null && number < parent.shape.pages;
    const parentRef = inParent ? parent.root.get(number) : null;
    if (places.length === 0) {
      root.set(number, parentRef);
      continue;
    }
    const refs = openPage(options, number, parentRef);
    // Whoever waits for it fails; until then nobody does.
    refs.catch(() => {});
    const page = { number, refs, parentRef, waiting: places.length };
    for (const place of places) {
      yield { page, place };
      await afterChunk();
    }
  }
}

/** The references of a page as the parent has them, and whether the parent's are lost. */
async function openPage(
  { chunks, objects, parent, signal, volume }: IndexOptions,
  number: number,
  parentRef: Ref | null,
): Promise<{ refs: RefList; lost: boolean }> {
  const refs = RefList.zeros(pageLength(chunks.shape, number));
  if (parent === null || parentRef === null) return { refs, lost: false };
  const old = await unlessDamaged(() =>
    objects.page(volume, parent.shape, number, parentRef, signal),
  );
  if (old === null) return { refs, lost: true };
  for (let place = 0; place < Math.min(refs.length, old.length); place += 1) {
    refs.set(place, old.get(place));
  }
  return { refs, lost: false };
}

async function storeChunk(options: IndexOptions, page: OpenPage, refs: RefList, place: number) {
  const chunk = page.number * pageChunks + place;
  refs.set(place, await options.writer.store(chunk, refs.get(place)));
}

async function storePage(options: IndexOptions, page: OpenPage, refs: RefList): Promise<Ref> {
  return await options.writer.storeContent('page', refs.encode(), page.parentRef);
}

/** Null instead of what is damaged. */
async function unlessDamaged<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (isHyperscaleError(error, 'damaged')) return null;
    throw error;
  }
}
