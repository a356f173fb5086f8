/** Marks of objects that verification found bad. The next backup of the volume does not use them. */
import { damageName, folders, parseDamageName } from './layout.ts';
import type { Ref } from './refs.ts';
import type { Target } from './target.ts';

/** So that damage of everything does not fill memory; beyond it nothing is reused at all. */
const maxMarks = 200_000;

export class Marks {
  readonly #known: Set<string>;

  private constructor(known: Set<string>) {
    this.#known = known;
  }

  static async read(target: Target, volume: string, signal?: AbortSignal): Promise<Marks> {
    const known = new Set<string>();
    for await (const name of target.names(folders.damage(volume), signal)) {
      const bad = parseDamageName(name);
      if (bad !== undefined) known.add(`${bad.session}${bad.digest}`);
      if (known.size > maxMarks) break;
    }
    return new Marks(known);
  }

  get none(): boolean {
    return this.#known.size === 0;
  }

  has(ref: Ref): boolean {
    return this.#known.size > maxMarks || this.#known.has(`${ref.session}${ref.digest}`);
  }
}

export async function markBad(target: Target, volume: string, ref: Ref): Promise<void> {
  await target.put(damageName(volume, ref), Buffer.from('bad\n'));
}

export async function unmark(target: Target, volume: string, ref: Ref): Promise<void> {
  await target.delete(damageName(volume, ref));
}
