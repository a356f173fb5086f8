/** How a volume is cut: into chunks, and these into pages of references. */
import { HyperscaleError } from '../errors.ts';
import { pageChunks } from './refs.ts';

/** The bounds of a repository's chunk size; a power of two between them. */
export const minChunkBytes = 4096;
export const maxChunkBytes = 16 * 2 ** 20;
export const defaultChunkBytes = 2 ** 20;
/** So that a root has less than 14 MB. With chunks of 1 MiB that is a volume of 256 TiB. */
const maxPages = 262_144;

export type Shape = {
  sizeBytes: number;
  chunkBytes: number;
  /** Chunks of the volume; the last one may be shorter. */
  chunks: number;
  pages: number;
};

/** @throws `bad-input` when a repository with such chunks cannot hold such a volume. */
export function shapeOf(sizeBytes: number, chunkBytes: number): Shape {
  const chunks = Math.ceil(sizeBytes / chunkBytes);
  const pages = Math.ceil(chunks / pageChunks);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1 || pages > maxPages) {
    const most = maxPages * pageChunks * chunkBytes;
    throw new HyperscaleError('bad-input', `a volume of ${sizeBytes} bytes cannot be backed up`, {
      hint: `This repository holds volumes of 1 to ${most} bytes; one with larger chunks holds larger ones.`,
      values: { sizeBytes, chunkBytes },
    });
  }
  return { sizeBytes, chunkBytes, chunks, pages };
}

/** @throws `bad-input` for a chunk size that no repository has. */
export function checkChunkBytes(chunkBytes: number): void {
  const good = chunkBytes >= minChunkBytes && chunkBytes <= maxChunkBytes;
  if (good && Number.isInteger(Math.log2(chunkBytes))) return;
  throw new HyperscaleError('bad-input', `chunks cannot have ${chunkBytes} bytes`, {
    hint: `A chunk has a power of two from ${minChunkBytes} to ${maxChunkBytes} bytes.`,
  });
}

/** The bytes of the volume that a chunk holds. */
export function chunkRange(shape: Shape, chunk: number): { offset: number; length: number } {
  const offset = chunk * shape.chunkBytes;
  return { offset, length: Math.min(shape.chunkBytes, shape.sizeBytes - offset) };
}

/** The bytes of the volume that a page describes. */
export function pageRange(shape: Shape, page: number): { offset: number; length: number } {
  const pageBytes = pageChunks * shape.chunkBytes;
  const offset = page * pageBytes;
  return { offset, length: Math.min(pageBytes, shape.sizeBytes - offset) };
}

/** Chunks that a page describes: 1,024, fewer in the last one. */
export function pageLength(shape: Shape, page: number): number {
  return Math.min(pageChunks, shape.chunks - page * pageChunks);
}
