/**
 * When a head may still answer reads (rules 9 and 14 of docs/design/rules.md). Writes need no
 * clock: a superseded head cannot have them acknowledged. Reads of a head that was cut off do, or
 * they would show old content after another node has taken over. Pure; all times are milliseconds
 * of the clock that goes on while the host sleeps (CLOCK_BOOTTIME).
 *
 * A take-over needs two things: the writer's node lease is gone from the store, and a member of the
 * write set refuses the old epoch and has dropped its export. So a head is certainly the newest
 * - for as long as the store confirmed its node's lease a short time ago, and
 * - for as long as every other member was seen to export the layer a short time ago. That is what
 *   lets guests go on while the store is away: nobody has fenced anybody.
 * A head whose whole write set is its own node can only be superseded by that node.
 */
import { leaseSeconds } from '../store/store.ts';

/** The store drops a lease no earlier than `leaseSeconds` after a renewal was sent. */
export const leaseGoodMs = leaseSeconds * 1_000 - 500;
/** A head answers at most this long after the last time all members were seen to export its layer. */
export const probeGoodMs = 2_000;
/** Members are asked when the lease has not been confirmed for this long. */
export const probeAfterMs = leaseGoodMs - probeGoodMs;
/**
 * How long a take-over waits, after it fenced a member, before it serves: by then a head that it
 * could not reach has been killed by the watchdog of its node.
 */
export const staleReadsEndMs = probeGoodMs + 500;

export type Freshness = {
  now: number;
  /** When the request was sent with which the store last confirmed this node's lease; 0: never. */
  leaseConfirmed: number;
  /** When the last round of questions began that all members answered well; 0: never. */
  membersSeen: number;
  /** Members other than this node. */
  peers: number;
  /**
   * This watchdog has found the head fine before, or has asked its members once. Only one that was
   * just started has not: it knows nothing yet and asks first. One that has, and finds everything
   * too old at once, stood still with its whole host: then any answer would come too late.
   */
  known: boolean;
};

/** What to do about one head. */
export function judge(f: Freshness): 'fine' | 'ask-members' | 'kill' {
  if (f.peers === 0) return 'fine';
  const lease = f.now - f.leaseConfirmed;
  if (lease < probeAfterMs) return 'fine';
  const stale = lease >= leaseGoodMs && f.now - f.membersSeen >= probeGoodMs;
  return stale && f.known ? 'kill' : 'ask-members';
}
