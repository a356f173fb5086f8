/** Slows work down to so many bytes a second. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HyperscaleError } from '../errors.ts';
import { checkCancelled } from './target.ts';

/** The time that work may begin when `bytes` more are wanted; pure, so that it can be tested. */
export class Schedule {
  readonly #bytesPerSecond: number;
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(bytesPerSecond: number) {
    if (!Number.isFinite(bytesPerSecond) || bytesPerSecond <= 0) {
      throw new HyperscaleError('bad-input', `${bytesPerSecond} bytes a second is no rate`);
    }
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Books bytes. @returns how many ms to wait before using them. */
  book(bytes: number, nowMs: number): number {
    const start = Math.max(this.#freeAtMs, nowMs);
    this.#freeAtMs = start + (bytes / this.#bytesPerSecond) * 1000;
    return start - nowMs;
  }
}

/** Waits for its turn; without a rate it is always ours. */
export class Pace {
  readonly #schedule: Schedule | undefined;

  /** @throws `bad-input` for a rate that is not above 0. */
  constructor(bytesPerSecond: number | undefined) {
    this.#schedule = bytesPerSecond === undefined ? undefined : new Schedule(bytesPerSecond);
  }

  /** @throws `cancelled`. */
  async wait(bytes: number, signal?: AbortSignal): Promise<void> {
    checkCancelled(signal);
    const ms = this.#schedule?.book(bytes, performance.now()) ?? 0;
    if (ms <= 0) return;
    await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      checkCancelled(signal);
      throw error;
    });
  }
}
