import type { Clock } from '../../src/store/clock.ts';
import type { Scheduler } from './core.ts';

/**
 * One life of a daemon. Whatever comes to it, timers included, comes through `deliver`: late while
 * it is frozen, in order, and never again once it is gone. So a killed daemon does nothing more.
 */
export class NodeRun {
  readonly #scheduler: Scheduler;
  readonly #waiting: (() => void)[] = [];
  #frozen = false;
  #draining = false;
  #gone = false;
  readonly #ends = new Set<() => void>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get gone(): boolean {
    return this.#gone;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  deliver(callback: () => void): void {
    if (this.#gone) return;
    if (this.#frozen || this.#draining) this.#waiting.push(callback);
    else callback();
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    if (this.#draining) return;
    this.#draining = true;
    this.#drain();
  }

  end(): void {
    this.#gone = true;
    this.#waiting.length = 0;
    for (const end of this.#ends) end();
  }

  /** Called when the process ends: what the kernel does for it, e.g. with its connections. */
  onEnd(listener: () => void): () => void {
    this.#ends.add(listener);
    return () => this.#ends.delete(listener);
  }

  after(milliseconds: number, callback: () => void): () => void {
    let live = true;
    const fire = () => {
      if (!live) return;
      live = false;
      callback();
    };
    const cancel = this.#scheduler.after(milliseconds, () => this.deliver(fire));
    return () => {
      live = false;
      cancel();
    };
  }

  /** Calls back again and again; returns what ends it. */
  every(milliseconds: number, callback: () => void): () => void {
    let cancel: () => void;
    const turn = () => {
      cancel = this.after(milliseconds, turn);
      callback();
    };
    cancel = this.after(milliseconds, turn);
    return () => cancel();
  }

  /** As the promise, but settled through `deliver`. */
  settle<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.deliver(() => resolve(value)),
        (error: Error) => this.deliver(() => reject(error)),
      );
    });
  }

  readonly clock: Clock = {
    now: () => this.#scheduler.now(),
    sleep: (milliseconds, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) {
          resolve();
          return;
        }
        const end = () => {
          signal?.removeEventListener('abort', end);
          cancel();
          resolve();
        };
        const cancel = this.after(milliseconds, end);
        signal?.addEventListener('abort', end);
      }),
  };

  #drain(): void {
    const next = this.#waiting.shift();
    if (next === undefined || this.#frozen || this.#gone) {
      if (next !== undefined) this.#waiting.unshift(next);
      this.#draining = false;
      return;
    }
    next();
    this.#scheduler.after(0, () => this.#drain());
  }
}
