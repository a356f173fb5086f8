import { HyperscaleError } from '../errors.ts';
import type { Environment } from './context.ts';

/**
 * Runs `work` with a signal that aborts after some time by the clock of `environment`; the timer
 * ends with the work. Work that does not look at the signal is not ended by it.
 */
export async function withDeadline<T>(
  environment: Environment,
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const cancel = environment.after(milliseconds, () => {
    const text = `not done within ${milliseconds / 1_000} seconds`;
    controller.abort(new HyperscaleError('timeout', text));
  });
  try {
    return await work(controller.signal);
  } finally {
    cancel();
  }
}
