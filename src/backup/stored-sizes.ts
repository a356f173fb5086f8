import { folders } from './layout.ts';
import { RefMap } from './ref-set.ts';
import type { Ref } from './refs.ts';
import type { Target } from './target.ts';

/** Lengths of stored objects, from one listing of each session that is asked for. */
export class StoredSizes {
  readonly #target: Target;
  readonly #volume: string;
  readonly #signal: AbortSignal | undefined;
  readonly #bytes = new RefMap<number>();
  readonly #listed = new Map<string, Promise<void>>();

  constructor(target: Target, volume: string, signal: AbortSignal | undefined) {
    this.#target = target;
    this.#volume = volume;
    this.#signal = signal;
  }

  /** Null when the object is missing. */
  async of(ref: Ref): Promise<number | null> {
    const { session } = ref;
    let listed = this.#listed.get(session);
    if (listed === undefined) {
      listed = this.#list(session);
      this.#listed.set(session, listed);
    }
    await listed;
    return this.#bytes.get(ref) ?? null;
  }

  async #list(session: string): Promise<void> {
    const folder = folders.session(this.#volume, session);
    for await (const { bytes, name } of this.#target.sizes(folder, this.#signal)) {
      const digest = digestIn(name);
      if (digest !== undefined) this.#bytes.set({ session, digest }, bytes);
    }
  }
}

/** The digest that an object is named after; undefined for what is no object of ours. */
export function digestIn(name: string): string | undefined {
  const [, digit, digest] = /\/([0-9a-f])\/([0-9a-f]{64})$/.exec(name) ?? [];
  return digit !== undefined && digest?.startsWith(digit) === true ? digest : undefined;
}
