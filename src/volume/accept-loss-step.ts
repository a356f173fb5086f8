import type { AcceptedLoss, Volume } from './types.ts';

/** What an operator decided with the very step from `before` to `after`, if anything. */
export function decidedNow(before: Volume, after: Volume): AcceptedLoss | undefined {
  const known = before.losses?.length ?? 0;
  return after.losses?.length === known + 1 ? after.losses[known] : undefined;
}
