/* What goes wrong. Silence, delay and wrong suspicion are everywhere; these are counted. */

#define head_dies(k) d_step { \
  head[k] == LIVE && head_deaths < HEAD_DEATHS -> do_head_dies(k) }
inline do_head_dies(k) {
  printf("head e%d dies\n", k);
  head_deaths++;
  kill_head(k);
  tidy()
}

/*
 * A daemon dies and is started again: processes run on, and what it had in memory is forgotten. A swap
 * that it had sent may land later, or never (state.pml says which ones matter). A daemon that gives up
 * waiting for an answer of the store is in the same position.
 */
#define agent_dies d_step { \
  agent_deaths < AGENT_DEATHS && forgets_something -> do_agent_dies() }
#ifdef MERGE
#define forgets_a_merge (merge == BEGUN && attempt != 0 && late_swap == 0)
#else
#define forgets_a_merge 0
#endif
/* It finds a confirmed head that was not started in the record, and starts it, or is broken. */
#ifdef NO_START_DUTY
#define forgets_a_start (phase == OPEN && head[current] == MAY_START)
#else
#define forgets_a_start 0
#endif
#define forgets_something (ended_well || answered != 0 || forgets_a_merge || forgets_a_start)
inline do_agent_dies() {
  printf("the daemons die and forget what they were doing\n");
  agent_deaths++;
  ended_well = 0;
#ifdef NO_START_DUTY
  if :: forgets_a_start -> head[current] = NEVER :: else fi;
#endif
#ifdef MERGE
  if :: merge == BEGUN -> late_swap = attempt :: else fi;
#endif
  forget_answers()
}

/*
 * A node loses power and comes back at once (staying away is doing nothing): its head is dead, its boot
 * is another. Of what was not flushed it has lost everything, or nothing (`reboot`).
 */
#define lose_power(n) d_step { alive(n) && power_cuts < POWER_CUTS -> do_lose_power(n, 1) }
#define reboot(n) d_step { alive(n) && power_cuts < POWER_CUTS -> do_lose_power(n, 0) }
inline do_lose_power(n, loses) {
  printf("node %d reboots (what was not flushed is lost: %d)\n", n, loses);
  power_cuts++;
  kill_heads_on(n, E + 1);
  i = 1;
  do
    :: i > E -> break
    :: else ->
      if :: has(members[i], n) -> rebooted[i] = rebooted[i] | only(n) :: else fi;
      if
        :: loses -> cached[at(i, n)] = stable[at(i, n)]
        :: else -> stable[at(i, n)] = cached[at(i, n)]
      fi;
      i++
  od;
  if :: phase == FENCING && taker == n -> forget_answers() :: else fi;
  if :: current != 0 && writer[current] == n -> ended_well = 0 :: else fi;
  tidy();
  /*
   * When all members lost power, a write that was never acknowledged, but read, may be lost. Whoever read
   * it lived on one of them, unless it was read through a gateway: that is not promised.
   */
  if
    :: loses && current != 0 && (members[current] & ~rebooted[current]) == 0 ->
      last_read = acknowledged
    :: else
  fi
}
