/*
 * Roll: prepare, act, confirm (src/volume/roll.ts, src/node/complete-roll.ts). Evicting a member, adding
 * one, going on after the head died, sealing: all the same, for any reason or none.
 */
#define GRACEFUL 1
#define KILLED 0

/* The writer runs in the boot in which it became a member; otherwise it fences itself. */
#define writer_is_same (!has(rebooted[current], writer[current]))

inline name_next(node, set) {
  epoch++;
  next = epoch;
  members[epoch] = set;
  writer[epoch] = node;
  phase = OPENING;
  ended_well = 0;
#ifdef DELETE
  file[epoch] = set;
#endif
  swap
}

/* Prepare, also in place of one that was prepared and not confirmed. */
#define prepare_roll(set) d_step { \
  (phase == OPEN || (phase == OPENING && current != 0 && REPLACEMENTS)) && epoch < E && writer_is_same \
  && has(set, writer[current]) && roll_is_wanted(set) -> do_prepare_roll(set) }
inline do_prepare_roll(set) {
  printf("node %d prepares e%d on nodes %d (mask)\n", writer[current], epoch + 1, set);
#ifdef PROGRESS
  if :: !roll_is_needed -> suspicions++ :: else fi;
#endif
  discard_next();
  name_next(writer[current], set);
#ifdef NO_TWO_STEPS
  i = current;
  seal(i, only(writer[i]));
  current = 0
#endif
}

/* The first epoch after an idle time, on any host that has an attachment. */
#define prepare_open(node, set) d_step { \
  phase == IDLE && epoch < E && alive(node) && set_is_wanted(set) -> do_prepare_open(node, set) }
inline do_prepare_open(node, set) {
  printf("node %d prepares e%d on nodes %d (mask) of the idle volume\n", node, epoch + 1, set);
  name_next(node, set)
}

/* A first epoch that is given up: by its writer, or by others when that one seems gone. */
#define abandon_opening d_step { \
  phase == OPENING && current == 0 && REPLACEMENTS && abandon_is_wanted -> do_abandon_opening() }
inline do_abandon_opening() {
  printf("the opening of e%d is given up\n", next);
  discard_next();
  next = 0;
  phase = IDLE;
  swap
}

/* What was prepared and never served is garbage. */
inline discard_next() {
#ifdef TRACK_FILES
  if :: next != 0 -> garbage[next] = members[next]; after[next] = 0 :: else fi;
#endif
  if
    :: next != 0 -> members[next] = 0; writer[next] = 0; rebooted[next] = 0; head[next] = DEAD
    :: else
  fi
}

/*
 * Act: the old head is asked to end, or killed. In good order: its exports are removed, which waits for
 * their requests, it flushes and exits, and no member answered an error.
 */
#define end_old_head(how) d_step { \
  phase == OPENING && current != 0 && head[current] == LIVE \
  && alive(writer[current]) && (how == KILLED || can_end_well) -> do_end_old_head(how) }
inline flush_members(k, how) {
#ifdef WRITE_BACK
  if
    :: how == GRACEFUL -> make_members_stable(k)
    :: else
  fi
#else
  skip
#endif
}
#define can_end_well (request[current] == 0 && all_answer(current))
inline do_end_old_head(how) {
  printf("node %d ends head e%d (in good order: %d)\n", writer[current], current, how);
  i = current;
  kill_head(i);
  flush_members(i, how);
  ended_well = how;
  tidy()
}

/*
 * Confirm: the old head is dead, its layer is fsynced here (rule 12) and sealed with this node's copy as
 * the authority. The sync and the swap are one action: from the head's end on nobody writes this copy,
 * and a power cut in between keeps this boot from confirming.
 */
#define confirm d_step { \
  phase == OPENING && alive(writer[next]) && !has(rebooted[next], writer[next]) \
  && (current == 0 || (head[current] != LIVE && writer_is_same)) -> do_confirm() }
inline do_confirm() {
  printf("node %d confirms e%d", writer[next], next);
  if
    :: current != 0 ->
      sync(current, writer[current]);
      if
        :: ended_well -> seal(current, members[current])
        :: else -> seal(current, only(writer[current]))
      fi;
      /* A daemon does one duty at a time: what it confirmed before, it does not start any more. */
      head[current] = DEAD
    :: else
  fi;
  printf("\n");
  current = next;
  next = 0;
  phase = OPEN;
  head[current] = MAY_START;
  ended_well = 0;
  tidy();
  swap
}

/*
 * Nobody uses the volume on the writer's node: it ends the head and seals (hand-over, detach). The end of
 * the head and the swap are one action: the end alone is a head's death, which is another one.
 */
#define close(how) d_step { \
  phase == OPEN && alive(writer[current]) && writer_is_same && close_is_wanted \
  && (how == KILLED || (head[current] == LIVE && can_end_well)) -> do_close(how) }
inline do_close(how) {
  printf("node %d closes e%d (in good order: %d)", writer[current], current, how);
#ifdef PROGRESS
  suspicions++;
#endif
  i = current;
  if :: head[i] == LIVE -> kill_head(i) :: else -> head[i] = DEAD fi;
  flush_members(i, how);
  sync(i, writer[i]);
  if
    :: how == GRACEFUL -> seal(i, members[i])
    :: else -> seal(i, only(writer[i]))
  fi;
  printf("\n");
  current = 0;
  phase = IDLE;
  ended_well = 0;
  tidy();
  swap
}

/*
 * A layer's epoch ends (src/volume/seal.ts). Rule 5: a crash leaves the other members in doubt; they hold
 * every acknowledged write, but perhaps not one that was read.
 */
inline seal(k, equal) {
  sealed[k] = IN_CHAIN;
#ifdef NO_DOUBT
  clean[k] = members[k];
#else
  clean[k] = equal;
#endif
  doubtful[k] = members[k] & ~clean[k];
  printf(" - layer %d is sealed, clean on %d (mask)", k, clean[k])
}

inline sync(k, n) {
#ifndef NO_SYNC
  stable[at(k, n)] = cached[at(k, n)]
#else
  skip
#endif
}
