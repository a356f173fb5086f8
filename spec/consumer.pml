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
#define connect(k) d_step { \
  connection == 0 && head[k] == LIVE && old_requests_settled(k) -> do_connect(k) }
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
