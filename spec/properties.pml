/*
 * What must hold. What is wrong when it does not is printed, and `node spec/check.ts` shows it.
 */
#define must(condition, wrong) \
  if :: (condition) :: else -> printf("VIOLATED: "); printf(wrong); printf("\n"); assert(false) fi
#define both(k, a, b) (has(clean[k], a) && has(clean[k], b))
#define equal(k, a, b) (!both(k, a, b) || cached[at(k, a)] == cached[at(k, b)])
#define copies_are_equal(k) (equal(k, 0, 1) && equal(k, 0, 2) && equal(k, 1, 2))

/* The merged layer is read in the place of its top one. */
#ifdef MERGE
#define layer_at(k) (sealed[MERGED] == IN_CHAIN && merge_top == (k) -> MERGED : (k))
#define has_no_file(k) ((k) == MERGED && has(clean[MERGED], builder) && attempt == 0)
#else
#define layer_at(k) (k)
#define has_no_file(k) 0
#endif

/*
 * value = what head h shows: its own copy of its layer, else the newest sealed layer that holds the
 * block. A sealed layer is read from this node's clean copy or from any peer's; all must be equal.
 */
inline look_through(h) {
  value = cached[at(h, writer[h])];
  i = h - 1;
  do
    :: value != 0 || i == 0 -> break
    :: else ->
      j = layer_at(i);
      if
        :: sealed[j] == IN_CHAIN ->
          must(clean[j] != 0, "the last clean copy of a layer is gone");
          check_copies(j);
          value = (has(clean[j], 0) -> cached[at(j, 0)] :
            (has(clean[j], 1) -> cached[at(j, 1)] : cached[at(j, 2)]))
        :: else
      fi;
      i--
  od
}

inline check_copies(k) {
  must(copies_are_equal(k), "clean copies of a layer differ");
  must(!has_no_file(k), "a clean copy has no file")
}

/*
 * A read that a head answers, to the consumer or to anybody else who is connected. With CLOCKS 0 only the
 * newest head's reads are promised to be right. That reads do not go back is promised to the consumer: of
 * several at once, one may see a write of another that is neither answered nor kept.
 */
#define may_be_read(k) (head[k] == LIVE && phase < DELETING && (CLOCKS || (k) == served))
#define read_block(k) d_step { may_be_read(k) -> do_read(k) }
inline do_read(k) {
  look_through(k);
  printf("a read on head e%d returns %d (acknowledged %d, read before %d)\n", k, value,
    acknowledged, last_read);
  must(value >= acknowledged, "an acknowledged write is not read: it is lost, or the read is stale");
  must(connection != k || value >= last_read, "a read went back behind an earlier one");
  /* A write that its consumer still waits for is repeated: nobody was promised that it stays. */
  if
    :: connection == k && value != waiting && value > last_read -> last_read = value
    :: else
  fi
}

/* A write lands in a copy. What is sealed and clean never changes. */
#define must_not_be_sealed(k, n) \
  must(sealed[k] == UNSEALED || !has(clean[k], n) || cached[at(k, n)] == request[k], \
    "the content of a sealed layer changes")

/* Nothing that a consumer sends lands, or completes, in what is written to once its revocation was reported. */
#ifdef REVOCATION
#define may_land(k) must(revocation != REPORTED || !is_of_old(k) || sealed[k] != UNSEALED, \
  "a write lands of a consumer whose revocation was reported")
#else
#define may_land(k) skip
#endif

/* A whole write completes. From the seal on, no old head can complete one: two epochs never can. */
#define may_complete(k) must(sealed[k] == UNSEALED, "an epoch that is over acknowledges a write")
