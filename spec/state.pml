/* What there is: the record in the store, the nodes' disks, heads, consumers, and ghosts. */

/* --- The record (src/volume/types.ts). A layer is named by the epoch that opened it. --- */
#define IDLE 0
#define OPENING 1
#define OPEN 2
#define FENCING 3
#define DELETING 4
#define REMOVED 5
byte phase = OPEN;
byte epoch = 1;           /* the highest ever prepared */
byte current = 1;         /* the layer that is open, closing or being fenced; 0: none */
byte next = 0;            /* the layer being opened; 0: none */
byte taker = 0;           /* who fences */
byte members[E + 1];      /* write set of each layer */
byte writer[E + 1];

/* The merged layer has a name of its own, MERGED; it stands in the chain where its top layer stood. */
#define MERGED (E + 1)
#define UNSEALED 0
#define IN_CHAIN 1
#define REPLACED 2        /* by a merge */
byte sealed[E + 2];
byte clean[E + 2];        /* nodes whose copy is clean */
byte doubtful[E + 2];     /* unverified or being filled: must be compared before it is used */

/* --- Disks. `cached` is what a read returns, `stable` is what a power cut leaves. --- */
byte cached[(E + 2) * 3];
byte stable[(E + 2) * 3];
byte fence[3];            /* durable: epochs below are refused */
byte rebooted[E + 1];     /* members that had a power cut since the layer was prepared (boot ids) */
#ifdef DELETE
byte file[E + 1];         /* nodes that have a file of the layer */
#endif
#ifdef TRACK_FILES
byte garbage[E + 1];      /* nodes that have to delete theirs */
byte after[E + 1];        /* ... when an epoch above this is open, or none */
#endif

/* --- Heads: one a layer, on the layer's writer. --- */
#define NEVER 0
#define MAY_START 1       /* confirmed; a daemon that was told so may start it, however late */
#define LIVE 2
#define DEAD 3            /* what it had sent to peers may still arrive there */
byte head[E + 1];
byte request[E + 1];      /* the write in the head, or still under way from a dead one; 0: none */
byte reached[E + 1];      /* members that have it */
bit settled[E + 1];       /* stable on all members; the reply is on its way */

/* --- What agents keep in memory only. --- */
bit ended_well = 0;       /* the old head was ended in good order, for the confirm */
byte answered = 0;        /* members that answered the taker's fence */
byte answered_rebooted = 0; /* ... in another boot than when they became members */
#ifdef NO_LOOK_BEFORE_LEASE
bit lease_back = 0;       /* the old writer's node has its lease (again) while it is being fenced */
#endif

/* --- The consumer. When one dies, another takes its place. --- */
byte issued = 0;          /* the number of the last write */
byte waiting = 0;         /* the write that was not answered yet; repeated after a reconnect */
byte connection = 0;      /* the head it is connected to; 0: none */
#ifdef NO_REVOKE
byte zombie = 0;          /* the write that a dead consumer's host may still repeat */
#endif

/* Somebody else takes the consumer's attachment away; it is not asked, and knows nothing of it. */
#ifdef REVOCATION
#define ATTACHED 0
#define REVOKED 1         /* in the record */
#define REPORTED 2        /* who asked was told that it changes nothing any more */
byte revocation = ATTACHED;
byte old = 0;             /* its write that was not answered; it repeats it for ever */
byte old_export = 0;      /* the head that exports its session, or will when it starts; 0: none */
byte served_then = 0;     /* the epoch that was written when it was revoked; 0: none */
#define is_of_old(k) (old != 0 && request[k] == old)
#endif

/* --- Ghosts: nobody acts on them. --- */
byte acknowledged = 0;
byte last_read = 0;
byte served = 0;          /* the newest head that ever started */

/* Faults so far. */
byte head_deaths = 0, agent_deaths = 0, power_cuts = 0, consumer_deaths = 0;
#ifdef PROGRESS
byte dead = 0;            /* nodes that never come back */
byte node_deaths = 0, suspicions = 0;
#endif

scratch byte i, j, value; /* of one action */

/* A merge of the two oldest layers of the chain (merge.pml). */
#ifdef MERGE
#define NO_MERGE 0
#define BEGUN 1
#define BUILT 2
#define MERGE_DONE 3
byte merge = NO_MERGE;
byte merge_low = 0, merge_top = 0;
byte builder = 0;
byte attempt = 0;         /* which build the builder's file is of; 0: no file */
byte attempts = 0;
byte manifest = 0;        /* which build the record tells of */
byte late_swap = 0;       /* a build whose swap a dead daemon had sent */
#define forget_late_swaps late_swap = 0
#else
#define forget_late_swaps skip
#endif

/*
 * Every change of the record. Swaps compare revisions: one that a dead daemon had sent, and that has
 * not landed yet, fails from here on.
 */
#define swap forget_late_swaps

/*
 * A swap sent by a daemon that died, landing late, is the same as one that landed in time, unless the
 * next daemon on that node did something on its disk in between that the swap contradicts. Repeating
 * any duty changes nothing on disk, except a merge that is built a second time: only that late swap is
 * an action of its own.
 */
#ifdef PROGRESS
#define alive(n) (!has(dead, n))
#else
#define alive(n) 1
#endif

/*
 * A peer's export: gone with its boot (rule 6) and with a fence. Nothing else takes it away at a time
 * that one could count on, so here it stays for ever.
 */
#define exports(n, k) (alive(n) && fence[n] <= (k) && !has(rebooted[k], n))
