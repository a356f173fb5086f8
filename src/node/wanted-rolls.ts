import { HyperscaleError } from '../errors.ts';
import type { Volume } from '../volume/types.ts';
import type { GroupSeal } from './group-seal.ts';

/** A new epoch that somebody asked for: to seal the layer that is open, or to grow with the next. */
export type RollWish =
  | { reason: 'seal'; group?: GroupSeal }
  | { reason: 'extend'; sizeBytes: number };

type Wanted = { wish: RollWish; resolve: () => void; reject: (error: unknown) => void };

/** Rolls that callers wait for. One roll serves all that ask at the time. */
export class WantedRolls {
  #waiting: Wanted[] = [];

  get none(): boolean {
    return this.#waiting.length === 0;
  }

  /** Resolves when the roll that serves it is over. An abort ends the waiting, not the roll. */
  add(wish: RollWish, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const wanted = { wish, resolve, reject };
    const aborted = () => {
      this.#waiting = this.#waiting.filter((w) => w !== wanted);
      const text = `the ${wish.reason} was not waited for`;
      reject(new HyperscaleError('cancelled', text, { cause: signal.reason }));
    };
    if (signal.aborted) {
      aborted();
      return promise;
    }
    this.#waiting.push(wanted);
    signal.addEventListener('abort', aborted, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', aborted));
  }

  /** Nothing is rolled; all that wait are told why. */
  refuse(error: HyperscaleError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /**
   * Serves all that wait with what `roll` does; its failure is theirs too. One that is part of a group
   * is served alone.
   */
  async serve(volume: Volume, roll: (wish: RollWish) => Promise<void>): Promise<void> {
    const wanted = this.#waiting.splice(0);
    // One roll is part of one group.
    const group = wanted.find(isGrouped);
    const now = group === undefined ? wanted : [group];
    this.#waiting = wanted.filter((w) => !now.includes(w));
    const wish = wishOf(
      now.map((w) => w.wish),
      volume.sizeBytes,
    );
    try {
      if (wish !== null) await roll(wish);
      for (const { resolve } of now) resolve();
    } catch (error) {
      for (const { reject } of now) reject(error);
      throw error;
    }
  }
}

function isGrouped({ wish }: Wanted): boolean {
  return wish.reason === 'seal' && wish.group !== undefined;
}

/** One wish that fulfils them all; null when the volume is large enough for each of them. */
function wishOf(wishes: readonly RollWish[], sizeBytes: number): RollWish | null {
  const largest = Math.max(0, ...wishes.map((w) => (w.reason === 'extend' ? w.sizeBytes : 0)));
  if (largest > sizeBytes) return { reason: 'extend', sizeBytes: largest };
  return wishes.find((w) => w.reason === 'seal') ?? null;
}
