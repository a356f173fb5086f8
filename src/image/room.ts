import { setTimeout as delay } from 'node:timers/promises';
import { HyperscaleError } from '../errors.ts';
import { placementLimit } from '../volume/placement.ts';

/** What is known of a pool's space. */
export type Space = () => Promise<{ totalBytes: number; freeBytes: number }>;

/** How often the pool is looked at while an image is being written. */
const lookMs = 500;

/** Keeps an import from filling the pool, which volumes need more. */
export class PoolRoom {
  readonly #space: Space;

  constructor(space: Space) {
    this.#space = space;
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
    const over = new AbortController();
    let reason: unknown;
    const watch = async () => {
      while (!over.signal.aborted) {
        await delay(lookMs, null, { signal: over.signal }).catch(() => null);
        if (over.signal.aborted) return;
        await this.look();
      }
    };
    const watching = watch().catch((error: unknown) => {
      reason = error;
      full.abort();
    });
    try {
      return await work(AbortSignal.any([signal, full.signal]));
    } catch (error) {
      throw reason !== undefined && !signal.aborted ? reason : error;
    } finally {
      over.abort();
      await watching;
    }
  }
}
