/** Values for stored objects, of which there may be millions. */
import type { Ref } from './refs.ts';

type Named = Pick<Ref, 'session' | 'digest'>;

export class RefMap<T> {
  /** By session and first digit of the digest: one map holds 16 million entries at most. */
  readonly #parts = new Map<string, Map<string, T>>();

  get(ref: Named): T | undefined {
    return this.#parts.get(partOf(ref))?.get(placeIn(ref));
  }

  has(ref: Named): boolean {
    return this.#parts.get(partOf(ref))?.has(placeIn(ref)) === true;
  }

  set(ref: Named, value: T): void {
    const part = partOf(ref);
    let places = this.#parts.get(part);
    if (places === undefined) {
      places = new Map();
      this.#parts.set(part, places);
    }
    places.set(placeIn(ref), value);
  }
}

function partOf({ digest, session }: Named): string {
  return `${session}${digest.slice(0, 1)}`;
}

/** One byte a character, half as long as hexadecimal. */
function placeIn({ digest }: Named): string {
  return Buffer.from(digest, 'hex').toString('latin1');
}
