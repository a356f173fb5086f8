import type { Readable } from 'node:stream';
import type { ImageFormat } from '../image/format.ts';
import type { Policy, Volume } from '../volume/types.ts';

export type ImportRequest = {
  name: string;
  policy: Policy;
  /** What the file is said to be; null: a look at it decides. */
  format: ImageFormat | null;
  /** What it must have, as 64 hex digits; null: whatever it has. */
  sha256: string | null;
  /** The largest virtual size that is taken, bytes; null: that of the largest volume. */
  maxSizeBytes: number | null;
  /** An image to make volumes from, or a volume itself. */
  as: 'image' | 'volume';
};

/** What became of a file: the record, and what was left out. */
export type Imported = {
  volume: Volume;
  /** Plain sentences. */
  notes: string[];
};

/** Images of this cluster; files come in through this node, into its pool. */
export interface ImageService {
  /** Also those that are being imported. */
  list(): Volume[];
  /** By id or name. @throws `not-found` */
  image(idOrName: string): Volume;
  /**
   * Receives a file, looks at it, and makes an image or a volume of it; resolves when it is complete.
   * When it fails, or `signal` ends it, nothing is left.
   * @throws `bad-input` saying why the file is refused, `exists`, `no-space`, `unavailable` when too
   *   many imports are under way, `cancelled`
   */
  import(request: ImportRequest, body: Readable, signal: AbortSignal): Promise<Imported>;
  /** What volumes need of it stays as long as they do. @throws `not-found` */
  delete(idOrName: string): Promise<void>;
}
