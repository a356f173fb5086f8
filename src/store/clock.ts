import { setTimeout as sleep } from 'node:timers/promises';

/** Time as the client of the store sees it; passed in so that a simulator can own it. */
export type Clock = {
  /** Monotonic milliseconds. */
  now(): number;
  /** Resolves after the time, or as soon as `signal` fires. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
};

export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) =>
    sleep(milliseconds, undefined, signal && { signal }).catch(() => undefined),
};
