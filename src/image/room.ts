import { HyperscaleError } from '../errors.ts';
import type { Environment } from '../node/context.ts';
import { placementLimit } from '../volume/placement.ts';

/** What is known of a pool's space. */
export type Space = () => Promise<{ totalBytes: number; freeBytes: number }>;

/** How often the pool is looked at while an image is being written. */
const lookMs = 500;

type After = Environment['after'];

const byTheClock: After = (milliseconds, callback) => {
  const timer = setTimeout(callback, milliseconds);
  return () => clearTimeout(timer);
};

/** Keeps an import from filling the pool, which volumes need more. */
export class PoolRoom {
  readonly #space: Space;
  readonly #after: After;

  constructor(space: Space, after: After = byTheClock) {
    this.#space = space;
    this.#after = after;
  }

  /** @throws `no-space` when the pool is as full as it may become by what is new to it */
  async look(): Promise<void> {
    const { totalBytes, freeBytes } = await this.#space();
    const used = totalBytes > 0 ? 1 - freeBytes / totalBytes : 1;
    if (used < placementLimit) return;
    throw new HyperscaleError(
      'no-space',
      `the pool is ${Math.round(used * 100)} % full, and images are taken up to ${placementLimit * 100} %`,
      {
        hint: 'Free space in the pool, or import on another node.',
        values: { totalBytes, freeBytes },
      },
    );
  }

  /** Does work that writes, and cancels it when there is no room any more. @throws as `look`, or the work */
  async during<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    await this.look();
    const full = new AbortController();
    let over = false;
    let cancel = () => {};
    let reason: unknown;
    const watch = () => {
      if (over) return;
      cancel = this.#after(lookMs, () => {
        this.look()
          .then(watch)
          .catch((error: unknown) => {
            reason = error;
            full.abort();
          });
      });
    };
    watch();
    try {
      return await work(AbortSignal.any([signal, full.signal]));
    } catch (error) {
      throw reason !== undefined && !signal.aborted ? reason : error;
    } finally {
      over = true;
      cancel();
    }
  }
}
