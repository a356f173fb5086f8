import { setTimeout as delay } from 'node:timers/promises';

/** What is awaited is noticed this part of the time too late that it took, and 20 ms at the most. */
const lateness = 1 / 8;
const longestMs = 20;

/** Looks again and again until `met` says true. @returns false when the time was up. */
export async function poll(
  met: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<boolean> {
  const start = performance.now();
  while (!(await met())) {
    const waited = performance.now() - start;
    if (waited > timeoutMs) return false;
    await delay(Math.min(Math.max(waited * lateness, 1), longestMs));
  }
  return true;
}
