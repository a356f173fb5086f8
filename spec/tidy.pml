/*
 * Forgets what cannot matter any more, so that states that differ only in it are one state. It changes no
 * behaviour; it is what makes the search end.
 */

scratch byte layer, needed;

/* A write of a dead head that may still arrive at a peer. */
#define may_arrive(k, n) \
  (has(members[k], n) && !has(reached[k], n) && (n) != writer[k] && exports(n, k))
#define nothing_may_arrive(k) (!may_arrive(k, 0) && !may_arrive(k, 1) && !may_arrive(k, 2))

#if CLOCKS && !defined(NO_LEASE_BEFORE_START)
#define never_starts(k) (sealed[k] != UNSEALED)
#else
#define never_starts(k) (sealed[k] != UNSEALED && has(rebooted[k], writer[k]))
#endif

inline tidy() {
  layer = 1;
  do
    :: layer > E -> break
    :: else ->
      if
        :: head[layer] == DEAD && request[layer] != 0 && nothing_may_arrive(layer) -> clear_request(layer)
        :: else
      fi;
      if :: head[layer] == MAY_START && never_starts(layer) -> head[layer] = DEAD :: else fi;
      if
        :: sealed[layer] != UNSEALED ->
          forget_content(layer, 0);
          forget_content(layer, 1);
          forget_content(layer, 2)
        :: else
      fi;
      if
        :: sealed[layer] != UNSEALED && head[layer] == DEAD && request[layer] == 0 ->
          members[layer] = 0;
          writer[layer] = 0;
          rebooted[layer] = 0
        :: else
      fi;
      layer++
  od;
  tidy_fence(0);
  tidy_fence(1);
  tidy_fence(2)
}

/* A fence matters for layers that something could still be written to. */
inline tidy_fence(n) {
  needed = 0;
  layer = 1;
  do
    :: layer > E || layer >= fence[n] -> break
    :: else ->
      if :: members[layer] != 0 -> needed = layer + 1 :: else fi;
      layer++
  od;
  fence[n] = needed
}

/* What a copy in doubt holds is never looked at before it is mended, but by an old head on its node. */
#ifdef NO_VERIFY
#define is_ignored(k, n) 0
#else
#define is_ignored(k, n) (has(doubtful[k], n) && !(head[k] == LIVE && (n) == writer[k]))
#endif
inline forget_content(k, n) {
  if
    :: is_ignored(k, n) -> cached[at(k, n)] = 0; stable[at(k, n)] = 0
    :: else
  fi
}
