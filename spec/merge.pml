/*
 * Merge of the two oldest sealed layers into a new file (src/volume/merge.ts, src/node/background.ts).
 * One merge a run. Building again gives the same content but other bytes, and so another manifest.
 */
#ifdef MERGE

/* value = the lowest layer in the chain above `above`, or 0. */
inline find_in_chain(above) {
  value = above + 1;
  do
    :: value > E -> value = 0; break
    :: value <= E && sealed[value] == IN_CHAIN -> break
    :: else -> value++
  od
}

/* The builder holds clean copies of both. */
#define lowest_sealed \
  (sealed[1] == IN_CHAIN -> 1 : (sealed[2] == IN_CHAIN -> 2 : 0))
#define begin_merge(n) d_step { \
  merge == NO_MERGE && (phase == IDLE || phase == OPEN) && lowest_sealed != 0 \
  && has(clean[lowest_sealed], n) && can_merge_on(n) -> do_begin_merge(n) }
#define second_sealed \
  (sealed[1] == IN_CHAIN && sealed[2] == IN_CHAIN -> 2 : (sealed[3] == IN_CHAIN -> 3 : 0))
#define can_merge_on(n) (second_sealed != 0 && has(clean[second_sealed], n))
inline do_begin_merge(n) {
  find_in_chain(0);
  merge_low = value;
  find_in_chain(merge_low);
  merge_top = value;
  printf("node %d begins to merge layers %d and %d\n", n, merge_low, merge_top);
  merge = BEGUN;
  builder = n;
  swap
}

/*
 * The builder makes the file, fsynced before it gets its name. One action: it only reads what is sealed,
 * and its own copies are deleted by nobody but itself, later.
 */
#define build_merge d_step { \
  merge == BEGUN && attempt == 0 && attempts < 2 && has(clean[merge_low], builder) \
  && has(clean[merge_top], builder) -> do_build_merge() }
inline do_build_merge() {
  attempts++;
  attempt = attempts;
  printf("node %d builds the merged layer (file %d)\n", builder, attempt);
  value = cached[at(merge_top, builder)];
  if :: value == 0 -> value = cached[at(merge_low, builder)] :: else fi;
#ifdef NO_NEW_FILE
  must(cached[at(merge_low, builder)] == value, "the content of a sealed layer changes");
#endif
  cached[at(MERGED, builder)] = value;
  stable[at(MERGED, builder)] = value
}

/* The record learns what was built; the other holders are to copy it. */
#define record_built d_step { merge == BEGUN && attempt != 0 -> do_record_built(attempt) }
inline do_record_built(which) {
  printf("it is recorded that file %d is built\n", which);
  manifest = which;
  merge = BUILT;
#ifdef NO_PART_TAKEN
  clean[MERGED] = clean[merge_top];
#else
  clean[MERGED] = only(builder);
#endif
  doubtful[MERGED] = clean[merge_top] & ~clean[MERGED];
  swap
}

/* The swap of a daemon that died, or that gave up waiting for the store, lands. */
#define late_record_built d_step { merge == BEGUN && late_swap != 0 -> do_record_built(late_swap) }

/*
 * Without "a file is built once": a daemon that does not know whether its swap was done removes what it
 * built and builds again.
 */
#define discard_attempt d_step { \
  merge == BEGUN && attempt != 0 && late_swap == attempt -> do_discard_attempt() }
inline do_discard_attempt() {
  printf("node %d removes file %d, to build it again\n", builder, attempt);
  attempt = 0;
  cached[at(MERGED, builder)] = 0;
  stable[at(MERGED, builder)] = 0
}

/* The others copy it, proven against the recorded manifest. */
#define copy_merge(n) d_step { \
  merge >= BUILT && has(doubtful[MERGED], n) && alive(n) && alive(builder) && attempt == manifest \
  -> do_copy_merge(n) }
inline do_copy_merge(n) {
  printf("node %d copies the merged layer\n", n);
  cached[at(MERGED, n)] = cached[at(MERGED, builder)];
  stable[at(MERGED, n)] = cached[at(MERGED, n)];
  clean[MERGED] = clean[MERGED] | only(n);
  doubtful[MERGED] = doubtful[MERGED] & ~only(n);
  swap
}

/* One swap exchanges the layers, when as many copies are clean as were of them or are wanted. */
#define smaller(a, b) ((a) < (b) -> (a) : (b))
#define enough_merged (count(clean[MERGED]) >= smaller(WANTED, \
  smaller(count(clean[merge_low]), count(clean[merge_top]))))
#define complete_merge d_step { merge == BUILT && enough_merged -> do_complete_merge() }
inline do_complete_merge() {
  printf("layers %d and %d are exchanged for the merged one\n", merge_low, merge_top);
  merge = MERGE_DONE;
  sealed[MERGED] = IN_CHAIN;
  replace(merge_low);
  replace(merge_top);
  swap
}
inline replace(k) {
  sealed[k] = REPLACED;
  garbage[k] = garbage[k] | clean[k] | doubtful[k];
  clean[k] = 0;
  doubtful[k] = 0;
  /* A head of an epoch that is still being opened will be started with the merged layer. */
  after[k] = (phase == OPENING -> epoch - 1 : epoch)
}

/* Given up; what was built is deleted. */
#define abandon_merge d_step { \
  (merge == BEGUN || merge == BUILT) && abandon_merge_is_wanted -> do_abandon_merge() }
inline do_abandon_merge() {
  printf("the merge is given up\n");
  merge = MERGE_DONE;
  attempt = 0;
  manifest = 0;
  clean[MERGED] = 0;
  doubtful[MERGED] = 0;
  cached[at(MERGED, 0)] = 0; cached[at(MERGED, 1)] = 0; cached[at(MERGED, 2)] = 0;
  stable[at(MERGED, 0)] = 0; stable[at(MERGED, 1)] = 0; stable[at(MERGED, 2)] = 0;
  swap
}
#endif
