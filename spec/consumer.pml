/*
 * A consumer: writes, waits, and repeats after a reconnect what was not answered. When it dies (or its
 * host, or it is detached) another one takes its place, with a session of its own.
 */

#define issue_write d_step { \
  issued < W && waiting == 0 && connection != 0 -> do_issue_write() }
inline do_issue_write() {
  issued++;
  waiting = issued;
  printf("the consumer issues write %d\n", waiting)
}

/*
 * Rule 15: a session is served only after the requests of older ones are settled. A new head has none
 * of them; a head that lives on is asked to remove the old session's export first.
 */
#ifdef NO_SETTLED_SESSIONS
#define old_requests_settled(k) 1
#else
#define old_requests_settled(k) (request[k] == 0)
#endif
#ifdef REVOCATION
#define next_may_come (revocation != REVOKED) /* it is started when that is reported, not before */
#else
#define next_may_come 1
#endif
#define connect(k) d_step { \
  connection == 0 && next_may_come && head[k] == LIVE && old_requests_settled(k) -> do_connect(k) }
inline do_connect(k) {
  printf("the consumer connects to head e%d\n", k);
  connection = k
}

#define take_write(k) d_step { \
  connection == (k) && waiting != 0 && head[k] == LIVE && request[k] == 0 -> do_take_write(k) }
inline do_take_write(k) {
  printf("head e%d takes write %d\n", k, waiting);
  request[k] = waiting;
  reached[k] = 0
}

#define consumer_dies d_step { \
  connection != 0 && consumer_deaths < CONSUMER_DEATHS -> do_consumer_dies() }
inline do_consumer_dies() {
  printf("the consumer dies; write %d was not answered\n", waiting);
  consumer_deaths++;
#ifdef NO_REVOKE
  zombie = waiting;
#endif
  waiting = 0;
  connection = 0
}

/* Without rule 15: a consumer that was declared dead finds an export to repeat its write on. */
#define zombie_replays(k) d_step { \
  zombie != 0 && head[k] == LIVE && request[k] == 0 -> do_zombie_replays(k) }
#ifdef NO_REVOKE
inline do_zombie_replays(k) {
  printf("a detached consumer repeats write %d on head e%d\n", zombie, k);
  request[k] = zombie;
  zombie = 0
}
#endif

/*
 * Revocation (src/node/force-detach.ts): an attachment is taken out of the record without asking its host,
 * whose consumer lives on. A head that was confirmed before knows its session; a later one, whose confirm
 * comes after it in the record, does not.
 */
#define revoke d_step { \
  revocation == ATTACHED && waiting != 0 && phase < DELETING -> do_revoke() }
#define session_ends(k) d_step { \
  revocation == REVOKED && old_export == (k) && head[k] == LIVE && its_requests_are_over(k) \
  -> do_session_ends(k) }
#define report_revocation d_step { \
  revocation == REVOKED && nothing_of_it_is_served -> do_report_revocation() }
#define old_repeats(k) d_step { \
  old != 0 && old_export == (k) && head[k] == LIVE && request[k] == 0 -> do_old_repeats(k) }
#ifdef NO_WAIT_FOR_REQUESTS
#define its_requests_are_over(k) 1
#else
#define its_requests_are_over(k) (request[k] == 0)
#endif
/* The head that served it exports it no more, or the epoch in which it was served has ended. */
#ifdef NO_WAIT_FOR_REVOCATION
#define nothing_of_it_is_served 1
#else
#define nothing_of_it_is_served (served_then == 0 || sealed[served_then] != UNSEALED \
  || (head[served_then] == LIVE && old_export != served_then))
#endif

#ifdef REVOCATION
inline do_revoke() {
  printf("the attachment of the consumer is revoked; write %d was not answered\n", waiting);
  revocation = REVOKED;
  old = waiting;
  waiting = 0;
  connection = 0;
  served_then = current;
  old_export = (current != 0 && (head[current] == LIVE || head[current] == MAY_START) -> current : 0);
  swap
}
inline do_session_ends(k) {
  printf("head e%d exports the revoked session no more\n", k);
  old_export = 0
}
inline do_report_revocation() {
  printf("it is reported that the revoked consumer changes nothing any more\n");
  revocation = REPORTED
}
inline do_old_repeats(k) {
  printf("the revoked consumer repeats write %d on head e%d\n", old, k);
  request[k] = old;
  reached[k] = 0
}
#endif
