/**
 * Where backups lie: anything that keeps whole objects under names. The rest of the repository
 * knows no other storage, so a new kind of target is one file.
 */
import { HyperscaleError } from '../errors.ts';

/**
 * Storage of a repository. Names are made by `layout.ts`; a target refuses others. What it returns
 * is not trusted by anyone.
 *
 * Every call fails with `unavailable` when the storage cannot be reached, `not-allowed` when it
 * refuses us, `no-space` when it is full, and `cancelled` when the signal is aborted.
 */
export interface Target {
  /** For messages: a path or a URL, without secrets. */
  readonly description: string;
  /**
   * How long, in ms, a listing may leave out what has been put already, or name what is gone.
   * `get`, `size` and `putIfAbsent` are never late.
   */
  readonly listingLagMs: number;
  /**
   * A whole object, or null when there is none.
   * @throws `damaged` when it is longer than `maxBytes` or the medium does not return it.
   */
  get(name: string, maxBytes: number, signal?: AbortSignal): Promise<Buffer | null>;
  /** Bytes of an object, or null when there is none. */
  size(name: string, signal?: AbortSignal): Promise<number | null>;
  /** Puts an object, replacing the one that is there; nobody ever sees a part of it. */
  put(name: string, content: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** As `put`, but false, with nothing changed, when the name is taken. */
  putIfAbsent(name: string, content: Uint8Array, signal?: AbortSignal): Promise<boolean>;
  /** Deletes an object; it is no error when there is none. */
  delete(name: string, signal?: AbortSignal): Promise<void>;
  /** Returns when all that was put before outlives a power cut. */
  flush(signal?: AbortSignal): Promise<void>;
  /** Names of all objects below a folder (`a/b/`), in no order. */
  names(folder: string, signal?: AbortSignal): AsyncIterable<string>;
  /** As `names`, with lengths. */
  sizes(folder: string, signal?: AbortSignal): AsyncIterable<ObjectSize>;
  /** The folders directly in a folder: their last part only, in no order. */
  folders(folder: string, signal?: AbortSignal): AsyncIterable<string>;
  close(): void;
}

export type ObjectSize = { name: string; bytes: number };

const partPattern = /^[A-Za-z0-9][A-Za-z0-9._~-]{0,254}$/;
const maxParts = 6;

/** True for a name that an object can have: no `..`, no hidden files, nothing to escape. */
export function isObjectName(name: string): boolean {
  const parts = name.split('/');
  return parts.length <= maxParts && parts.every((part) => partPattern.test(part));
}

/** @throws `bad-input` when a name could lead out of the repository. */
export function checkObjectName(name: string): void {
  if (isObjectName(name)) return;
  throw new HyperscaleError('bad-input', `${JSON.stringify(name.slice(0, 300))} is no object name`);
}

/** @throws `bad-input` unless the text is a folder's name with a slash behind it. */
export function checkFolder(folder: string): void {
  if (!folder.endsWith('/')) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(folder)} is no folder`);
  }
  checkObjectName(folder.slice(0, -1));
}

/** @throws `cancelled` when the signal is aborted. */
export function checkCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new HyperscaleError('cancelled', 'the work on the backup repository was cancelled', {
    cause: signal.reason,
  });
}

export function tooLong(name: string, bytes: number, maxBytes: number): HyperscaleError {
  return new HyperscaleError(
    'damaged',
    `${name} has ${bytes} bytes, at most ${maxBytes} are right`,
    {
      values: { name, bytes, maxBytes },
    },
  );
}
