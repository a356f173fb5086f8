/** Blocks that are read from somewhere else, on demand: what an NBD server here shows. */

/** A part that holds data, or only zeros. */
export type SourceExtent = { length: number; zero: boolean };

export interface BlockSource {
  readonly sizeBytes: number;
  /** So many bytes; the caller keeps within the size. */
  read(offset: number, length: number, signal: AbortSignal): Promise<Buffer>;
  /** What lies from an offset on, in order and without gaps; covers at least the first part of `length`. */
  extents(offset: number, length: number, signal: AbortSignal): Promise<SourceExtent[]>;
}
