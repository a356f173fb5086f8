/*
 * Take-over (src/volume/fence.ts, src/node/take-over.ts, fence-here.ts): another node ends the epoch of a
 * writer that is gone, or seems to be. Leases are hints: any node may suspect at any time.
 *
 * The record gives a fencing an epoch number of its own; here a fence at N means the same with
 * N = epoch + 1, the number that the next opening gets. Fences compare with "below", so a second
 * fencing, or a fence that comes late, refuses nothing more.
 */

#define begin_fencing(node) d_step { \
  current != 0 && epoch < E && may_fence(node) -> do_begin_fencing(node) }
#ifdef PROGRESS
#define may_fence(node) (alive(node) && take_over_is_wanted \
  && (phase == FENCING -> taker != node : node != writer[current] || !writer_is_same))
#else
/* Some node that is not the writer, or the writer in another boot. Which one it is does not matter. */
#define may_fence(node) (phase < DELETING && (phase != FENCING || answered != 0))
#endif
inline do_begin_fencing(node) {
  printf("a taker (node %d) begins to fence e%d\n", node, current);
#ifdef PROGRESS
  if :: phase != FENCING && !writer_is_gone -> suspicions++ :: else fi;
#endif
  discard_next();
  phase = FENCING;
  next = 0;
  taker = node;
  forget_answers();
  ended_well = 0;
  swap
}

/* Also for a taker whose daemon dies, and for another one that takes its place. */
inline forget_answers() { answered = 0; answered_rebooted = 0 }

/*
 * A member fences: the refusal on disk, heads killed, exports removed and their requests over, layers
 * fsynced, then the answer. One action: requests that land before its end come before it, the others
 * never. A power cut after the answer takes nothing back: what was answered is on disk.
 */
#define fence_member(n) d_step { \
  phase == FENCING && alive(taker) && alive(n) && has(members[current], n) && !has(answered, n) \
  -> do_fence_member(n) }
inline do_fence_member(n) {
  printf("node %d is fenced below e%d\n", n, epoch + 1);
#ifndef NO_FENCE
  refuse_below(n, epoch + 1);
#endif
  i = 1;
  do
    :: i > E -> break
    :: else ->
      if :: has(members[i], n) -> sync(i, n) :: else fi;
      i++
  od;
  tidy();
  answered = answered | only(n);
  if :: has(rebooted[current], n) -> answered_rebooted = answered_rebooted | only(n) :: else fi
}

inline refuse_below(n, number) {
  if :: fence[n] < number -> fence[n] = number :: else fi;
  kill_heads_on(n, number)
}

/*
 * Rule 6: the authority answered in the boot in which it became a member, or all members answered and
 * all rebooted.
 */
#ifdef NO_BOOTS
#define may_be_authority(n) 1
#elif defined(NO_ALL_REBOOTED)
#define may_be_authority(n) (!has(answered_rebooted, n))
#else
#define may_be_authority(n) \
  (!has(answered_rebooted, n) || (members[current] & ~answered_rebooted) == 0)
#endif
#define complete_fencing(n) d_step { \
  phase == FENCING && alive(taker) && has(answered, n) && may_be_authority(n) \
  -> do_complete_fencing(n) }
inline do_complete_fencing(n) {
  printf("node %d ends e%d; node %d is its authority", taker, current, n);
  i = current;
  wait_for_watchdog(i);
  seal(i, only(n));
  printf("\n");
  current = 0;
  phase = IDLE;
  forget_answers();
#ifdef NO_LOOK_BEFORE_LEASE
  lease_back = 0;
#endif
  tidy();
  swap
}

/*
 * Rule 14. The take-over waited until the watchdog of a node that it could not reach must have ended the
 * head there (src/watchdog/freshness.ts). A watchdog leaves a head alone while its node's lease is
 * confirmed; the lease was absent when the fencing began. With CLOCKS 0 nothing of this is relied on.
 */
#if CLOCKS && !defined(NO_WATCHDOG)
inline wait_for_watchdog(k) {
#ifdef NO_LOOK_BEFORE_LEASE
  if
    :: lease_back
    :: else -> end_cut_off(k)
  fi
#else
  end_cut_off(k)
#endif
}
#else
inline wait_for_watchdog(k) { skip }
#endif
inline end_cut_off(k) {
  if :: head[k] == LIVE -> kill_head(k) :: else fi
}

/*
 * The old writer's node gets its lease back while it is being fenced. That must not tell its watchdog to
 * leave the head alone before the daemon has looked at the record and ended what was superseded meanwhile.
 * With this rule the head has ended by then, and nothing is new; without it:
 */
#define regain_lease d_step { \
  phase == FENCING && writer_is_same && head[current] == LIVE && !lease_back -> do_regain_lease() }
#ifdef NO_LOOK_BEFORE_LEASE
inline do_regain_lease() {
  printf("node %d has a lease, and its watchdog leaves head e%d alone\n", writer[current], current);
  lease_back = 1
}
#endif
