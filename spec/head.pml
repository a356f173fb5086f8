/*
 * A head: the process that writes to all members (src/engine/head-graph.ts). It knows nothing of the
 * record. A write reaches the members one by one, becomes stable on all of them, is answered.
 */

#define member_answers(k, n) (!has(members[k], n) || (n) == writer[k] || exports(n, k))
#define all_answer(k) (member_answers(k, 0) && member_answers(k, 1) && member_answers(k, 2))

/* Also from a dead head: what it had sent may lie in a peer's socket for as long as it is exported. */
#define deliver(k, n) d_step { \
  request[k] != 0 && has(members[k], n) && !has(reached[k], n) \
  && ((n) == writer[k] -> head[k] == LIVE : (head[k] == LIVE || head[k] == DEAD) && exports(n, k)) \
  -> do_deliver(k, n) }
inline do_deliver(k, n) {
  printf("write %d of head e%d reaches node %d\n", request[k], k, n);
  must_not_be_sealed(k, n);
  may_land(k);
  if
    :: !is_ignored(k, n) -> cached[at(k, n)] = request[k]
    :: else
  fi;
  reached[k] = reached[k] | only(n);
  tidy()
}

/*
 * Rule 1: acknowledged means stable everywhere. The flushes of the members are one action: a power cut
 * between two of them is one that comes before, and in which the first member happens to lose nothing.
 */
#ifdef NO_ALL_MEMBERS
#define members_have_it(k) (reached[k] != 0)
#else
#define members_have_it(k) (reached[k] == members[k] && all_answer(k))
#endif
#define make_stable(k) d_step { \
  head[k] == LIVE && request[k] != 0 && !settled[k] && members_have_it(k) -> do_make_stable(k) }
inline do_make_stable(k) {
  printf("write %d of head e%d is stable on all members\n", request[k], k);
  may_complete(k);
  may_land(k);
#ifndef WRITE_BACK
  make_members_stable(k);
#endif
  settled[k] = 1
}
inline make_members_stable(k) {
  if :: has(members[k], 0) -> stable[at(k, 0)] = cached[at(k, 0)] :: else fi;
  if :: has(members[k], 1) -> stable[at(k, 1)] = cached[at(k, 1)] :: else fi;
  if :: has(members[k], 2) -> stable[at(k, 2)] = cached[at(k, 2)] :: else fi
}

/* The reply may come late, when the volume has moved on: what is settled is in every copy. */
#define reply(k) d_step { head[k] == LIVE && settled[k] -> do_reply(k) }
inline do_reply(k) {
  if
    :: connection == k && waiting == request[k] ->
      printf("head e%d acknowledges write %d\n", k, request[k]);
      acknowledged = waiting;
      waiting = 0
#ifdef REVOCATION
    :: is_of_old(k) -> answer_old(k)
#endif
    :: else -> printf("head e%d answers write %d to nobody\n", k, request[k])
  fi;
  clear_request(k)
}

#ifdef REVOCATION
/* As anybody's: a reply may come after the report, for a write that was settled before. */
inline answer_old(k) {
  printf("head e%d acknowledges write %d to the revoked consumer\n", k, old);
  acknowledged = (old > acknowledged -> old : acknowledged);
  old = 0
}
#endif

inline clear_request(k) { request[k] = 0; reached[k] = 0; settled[k] = 0 }

/* Requests of a killed process to its own disk are waited for (src/engine/file-locks.ts). */
inline kill_head(k) {
  head[k] = DEAD;
  settled[k] = 0;
  if :: connection == k -> connection = 0 :: else fi
}

inline kill_heads_on(n, below) {
  i = 1;
  do
    :: i > E -> break
    :: else ->
      if :: i < below && head[i] == LIVE && writer[i] == n -> kill_head(i) :: else fi;
      i++
  od
}

/*
 * A daemon that was told of the confirm starts the head, once (rule 17: burnt marks), in the boot in
 * which it became a member, and not behind a fence (src/node/complete-roll.ts). The daemon may be slow
 * and the record long gone on; only with CLOCKS it notices that its lease is.
 */
#ifdef NO_FENCE_BEFORE_START
#define not_fenced_here(k) 1
#else
#define not_fenced_here(k) (fence[writer[k]] <= (k))
#endif
#if CLOCKS && !defined(NO_LEASE_BEFORE_START)
#define lease_allows(k) (sealed[k] == UNSEALED)
#else
#define lease_allows(k) 1
#endif
#define start_head(k) d_step { \
  head[k] == MAY_START && alive(writer[k]) && not_fenced_here(k) && !has(rebooted[k], writer[k]) \
  && lease_allows(k) -> do_start_head(k) }
inline do_start_head(k) {
  printf("head e%d starts on node %d\n", k, writer[k]);
  head[k] = LIVE;
  if :: !CLOCKS && k > served -> served = k :: else fi
}

/* Without rule 17: a head that died is started again on the same layer. */
#define start_again(k) d_step { \
  head[k] == DEAD && sealed[k] == UNSEALED && fence[writer[k]] <= (k) \
  && !has(rebooted[k], writer[k]) -> do_start_again(k) }
inline do_start_again(k) {
  printf("head e%d is started again on node %d\n", k, writer[k]);
  head[k] = LIVE;
  clear_request(k)
}

/* An agent that sees a newer record ends what is not in it (src/node/duties.ts, staleProcess). */
#define end_superseded(k) d_step { \
  head[k] == LIVE && (current != (k) || phase == FENCING || phase >= DELETING) -> do_end(k) }
inline do_end(k) {
  printf("the agent of node %d ends the superseded head e%d\n", writer[k], k);
  kill_head(k);
  tidy()
}
