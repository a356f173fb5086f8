/*
 * Progress: when faults stop and the data is there, the volume is served again.
 *
 * With PROGRESS agents act only for a reason, as src/node/duties.ts has it, plus a bounded number of
 * wrong suspicions. Then every action is used up by being done (epochs, writes, faults, copies in doubt),
 * so no run is endless, and each must end. It may end only when the volume is served, every write is
 * acknowledged and no copy is in doubt, or when the data is on nodes that are gone for good; any other
 * end is reported by the searcher as an "invalid end state".
 */
#ifdef PROGRESS

#ifndef SUSPICIONS
#define SUSPICIONS 0
#endif
#define suspects (suspicions < SUSPICIONS)

#define set_is_wanted(set) (((set) & dead) == 0 && count(set) == smaller_set)
#define smaller_set (count(7 & ~dead) < 2 -> 1 : 2)
#define a_member_is_gone (!all_answer(current))
#define roll_is_needed (head[current] == DEAD || (head[current] == LIVE && a_member_is_gone))
#define roll_is_wanted(set) (phase == OPEN && set_is_wanted(set) && alive(writer[current]) \
  && head[current] != MAY_START && (roll_is_needed || suspects))
#define abandon_is_wanted (!alive(writer[next]) || has(rebooted[next], writer[next]))
#define close_is_wanted suspects
#ifdef NO_SELF_FENCE
#define writer_is_gone (!alive(writer[current]))
#else
#define writer_is_gone (!alive(writer[current]) || !writer_is_same)
#endif
#ifdef NO_OTHER_TAKER
#define taker_is_gone 0
#else
#define taker_is_gone (!alive(taker))
#endif
#define take_over_is_wanted (phase == FENCING -> taker_is_gone : writer_is_gone || suspects)
#define abandon_merge_is_wanted (!alive(builder) || (doubtful[MERGED] & dead) != 0 \
  || (merge == BUILT && doubtful[MERGED] == 0 && !enough_merged))

/* A node that never comes back; one that may hold the only copy of something. */
#define node_dies(n) d_step { \
  node_deaths < NODE_DEATHS && alive(n) -> do_node_dies(n) }
inline do_node_dies(n) {
  printf("node %d is gone for good\n", n);
  node_deaths++;
  dead = dead | only(n);
  kill_heads_on(n, E + 1);
  tidy();
  if :: taker == n -> forget_answers() :: else fi
}

#ifdef MERGE
#define merge_is_over (merge == NO_MERGE || merge == MERGE_DONE)
#else
#define merge_is_over 1
#endif
#define proven(k) (sealed[k] != IN_CHAIN || (doubtful[k] & ~dead) == 0)
#define all_proven (proven(1) && proven(2) && (E < 3 || proven(3)) && (E < 4 || proven(4 * (E > 3))))
#define is_served (phase == OPEN && head[current] == LIVE && acknowledged == W && connection != 0 \
  && all_proven && merge_is_over)

/* A sealed layer whose clean copies are all on lost nodes, or an open one without a possible authority. */
#define unreadable(k) (sealed[k] == IN_CHAIN && (clean[k] & ~dead) == 0)
#define no_authority (phase == FENCING \
  && (members[current] & ~dead & ~rebooted[current]) == 0 && (members[current] & dead) != 0)
#define is_hopeless (no_authority || unreadable(1) || unreadable(2) || (E > 2 && unreadable(3)) \
  || (E > 3 && unreadable(4 * (E > 3))) || unreadable(MERGED))

#else
#define roll_is_wanted(set) 1
#define set_is_wanted(set) 1
#define abandon_is_wanted 1
#define close_is_wanted 1
#define take_over_is_wanted 1
#define abandon_merge_is_wanted 1
#endif
