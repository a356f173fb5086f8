/* Copies of sealed layers (src/volume/copies.ts, src/node/mend.ts, src/cluster/repair.ts). */

/*
 * Mend: a copy that is in doubt, or new, is fenced for older epochs (rule 13), compared with a clean
 * one, corrected, fsynced, and recorded as clean. One action: what it reads is sealed, nobody else writes
 * the copy behind the fence, and a power cut before the swap only makes it be done again.
 */
#define mend(k, n) d_step { \
  sealed[k] == IN_CHAIN && alive(n) && has(doubtful[k], n) && source_of(k, n) -> do_mend(k, n) }
#define source_of(k, n) \
  ((clean[k] & ~only(n) & (alive(0) * 1 + alive(1) * 2 + alive(2) * 4)) != 0)
inline do_mend(k, n) {
  printf("node %d mends its copy of layer %d\n", n, k);
#ifndef NO_FENCE_BEFORE_MEND
  refuse_below(n, k + 1);
#endif
  value = (has(clean[k], 0) -> cached[at(k, 0)] :
    (has(clean[k], 1) -> cached[at(k, 1)] : cached[at(k, 2)]));
  cached[at(k, n)] = value;
  sync(k, n);
  clean[k] = clean[k] | only(n);
  doubtful[k] = doubtful[k] & ~only(n);
#ifdef DELETE
  file[k] = file[k] | only(n);
#endif
  tidy();
  swap
}

/* Without rule 5: a copy in doubt takes the place of the clean ones, which seem to be gone. */
#define promote(k, n) d_step { \
  sealed[k] == IN_CHAIN && has(doubtful[k], n) && phase != FENCING -> do_promote(k, n) }
inline do_promote(k, n) {
  printf("the copy of layer %d on node %d is believed as it is\n", k, n);
  doubtful[k] = (doubtful[k] | clean[k]) & ~only(n);
  clean[k] = only(n);
  swap
}

#ifdef COPIES
/* A node shall get a copy; what it may still hold of an earlier one is not deleted any more. */
#define add_copy(k, n) d_step { \
  sealed[k] == IN_CHAIN && (phase == IDLE || phase == OPEN) && !has(clean[k] | doubtful[k], n) \
  -> do_add_copy(k, n) }
inline do_add_copy(k, n) {
  printf("node %d is to get a copy of layer %d\n", n, k);
  doubtful[k] = doubtful[k] | only(n);
  garbage[k] = garbage[k] & ~only(n);
  forget_garbage(k);
  swap
}

/* Rule 7: only while enough clean copies remain. */
#ifdef NO_LAST_COPY
#define enough_without(k, n) 1
#else
#define enough_without(k, n) (count(clean[k] & ~only(n)) >= COPIES)
#endif
#define drop_copy(k, n) d_step { \
  sealed[k] == IN_CHAIN && (phase == IDLE || phase == OPEN) && has(clean[k] | doubtful[k], n) \
  && enough_without(k, n) -> do_drop_copy(k, n) }
inline do_drop_copy(k, n) {
  printf("the copy of layer %d on node %d is dropped\n", k, n);
  clean[k] = clean[k] & ~only(n);
  doubtful[k] = doubtful[k] & ~only(n);
  garbage[k] = garbage[k] | only(n);
  after[k] = epoch;
  swap
}
#endif

#ifdef TRACK_FILES
inline forget_garbage(k) {
  if :: garbage[k] == 0 -> after[k] = 0 :: else fi
}

/* Garbage is deleted when no head can have it open (src/volume/queries.ts, isDeletable). */
#ifdef NO_DELETE_LATER
#define is_deletable(k) 1
#else
#define is_deletable(k) \
  (phase == IDLE || phase == DELETING || (phase == OPEN && current > after[k]))
#endif
#define has_open(h, k) \
  (CLOCKS && head[h] == LIVE && (h) <= after[k] && phase != DELETING && sealed[k] != UNSEALED)
#define delete_file(k, n) d_step { \
  has(garbage[k], n) && is_deletable(k) -> do_delete_file(k, n) }
inline do_delete_file(k, n) {
  printf("node %d deletes its file of layer %d\n", n, k);
  i = 1;
  do
    :: i > E -> break
    :: else ->
      must(!has_open(i, k), "a file is deleted that a head has open");
      i++
  od;
  garbage[k] = garbage[k] & ~only(n);
  forget_garbage(k);
#ifdef DELETE
  file[k] = file[k] & ~only(n);
#endif
  rebooted[k] = rebooted[k] | only(n); /* its export is gone */
  cached[at(k, n)] = 0;
  stable[at(k, n)] = 0
}
#endif
