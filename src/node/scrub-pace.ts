import type { Progress } from '../engine/layer-content.ts';
import type { Environment } from './context.ts';

/** How often it looks whether other work is over. */
const giveWayMs = 1_000;

/**
 * Slows a reading down to a rate, and stops it while there is other work to do. Time that was lost
 * by waiting is not made up for.
 */
export function paced(
  environment: Environment,
  bytesPerSecond: number,
  isBusy: () => boolean,
  signal: AbortSignal,
): Progress {
  let doneBefore = 0;
  let earliest = environment.monotonic();
  return async (done) => {
    earliest += ((done - doneBefore) / bytesPerSecond) * 1_000;
    doneBefore = done;
    const now = environment.monotonic();
    if (earliest > now) await sleep(environment, earliest - now, signal);
    else earliest = now;
    while (isBusy()) {
      await sleep(environment, giveWayMs, signal);
      earliest = environment.monotonic();
    }
  };
}

/** Resolves after a while; rejects at an abort. */
export async function sleep(
  environment: Environment,
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  let abort = () => {};
  let cancel = () => {};
  try {
    await new Promise<void>((resolve, reject) => {
      abort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', abort);
      cancel = environment.after(milliseconds, resolve);
    });
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}
