/* Bounds, and the switches of spec/configurations.json and spec/breakages.json. */

#ifndef E
#define E 3 /* epochs */
#endif
#ifndef W
#define W 1 /* writes */
#endif
#ifndef FIRST_MEMBERS
#define FIRST_MEMBERS 3 /* the write set of epoch 1: nodes 0 and 1; node 0 writes */
#endif
#ifndef HEAD_DEATHS
#define HEAD_DEATHS 0
#endif
#ifndef AGENT_DEATHS
#define AGENT_DEATHS 0
#endif
#ifndef POWER_CUTS
#define POWER_CUTS 0
#endif
#ifndef CONSUMER_DEATHS
#define CONSUMER_DEATHS 0
#endif
#ifndef NODE_DEATHS
#define NODE_DEATHS 0 /* for good; only with PROGRESS */
#endif
/*
 * CLOCKS 1: watchdogs end cut-off heads in time (rule 14), and reads of every head are checked.
 * CLOCKS 0: no clock can be trusted; a cut-off head lives on for as long as it likes. Only reads of the
 * newest head are checked, but all writes are: they must need no clock.
 */
#ifndef CLOCKS
#define CLOCKS 1
#endif
/*
 * REPLACEMENTS 1: a prepare can be given up for another one. What was prepared is never served before its
 * confirm, so this costs epochs and shows little.
 */
#ifdef PROGRESS
#define REPLACEMENTS 1
#endif
#ifndef REPLACEMENTS
#define REPLACEMENTS 0
#endif
/* WRITE_BACK: members answer from memory (rule 1). Then one power cut may lose nothing yet; two may. */
/* COPIES n: copies are added and dropped, never below n clean ones. MERGE, DELETE: with those. */
#if defined(COPIES) || defined(MERGE) || defined(DELETE)
#define TRACK_FILES 1
#endif
#ifdef COPIES
#define WANTED COPIES
#else
#define WANTED 2
#endif

/* Scratch variables are no part of a state; a breadth-first search cannot leave them out. */
#ifdef BREADTH_FIRST
#define scratch
#else
#define scratch hidden
#endif

/* Sets of nodes are bit masks. */
#define only(n) (1 << (n))
#define has(nodes, n) (((nodes) >> (n)) & 1)
#define count(nodes) (has(nodes, 0) + has(nodes, 1) + has(nodes, 2))
#define at(k, n) ((k) * 3 + (n)) /* node n's copy of layer k */

/* One branch of the loop for each choice; the searcher is several times faster than with variables. */
#define EACH_NODE(act) :: act(0) :: act(1) :: act(2)
#if E == 2
#define EACH_EPOCH(act) :: act(1) :: act(2)
#elif E == 3
#define EACH_EPOCH(act) :: act(1) :: act(2) :: act(3)
#elif E == 4
#define EACH_EPOCH(act) :: act(1) :: act(2) :: act(3) :: act(4)
#elif E == 5
#define EACH_EPOCH(act) :: act(1) :: act(2) :: act(3) :: act(4) :: act(5)
#else
#define EACH_EPOCH(act) :: act(1) :: act(2) :: act(3) :: act(4) :: act(5) :: act(6)
#endif
#define EACH_COPY_OF(k, act) :: act(k, 0) :: act(k, 1) :: act(k, 2)
#define COPY_OF_1(act) EACH_COPY_OF(1, act) EACH_COPY_OF(2, act)
#if E == 2
#define EACH_EPOCH_AND_NODE(act) COPY_OF_1(act)
#elif E == 3
#define EACH_EPOCH_AND_NODE(act) COPY_OF_1(act) EACH_COPY_OF(3, act)
#elif E == 4
#define EACH_EPOCH_AND_NODE(act) COPY_OF_1(act) EACH_COPY_OF(3, act) EACH_COPY_OF(4, act)
#elif E == 5
#define EACH_EPOCH_AND_NODE(act) COPY_OF_1(act) EACH_COPY_OF(3, act) EACH_COPY_OF(4, act) \
  EACH_COPY_OF(5, act)
#else
#define EACH_EPOCH_AND_NODE(act) COPY_OF_1(act) EACH_COPY_OF(3, act) EACH_COPY_OF(4, act) \
  EACH_COPY_OF(5, act) EACH_COPY_OF(6, act)
#endif
/* Write sets of one, two and, with GOLD, three members. */
#ifdef GOLD
#define EACH_SET(act) :: act(1) :: act(2) :: act(3) :: act(4) :: act(5) :: act(6) :: act(7)
#define EACH_NODE_AND_SET(act) \
  :: act(0, 1) :: act(0, 3) :: act(0, 5) :: act(0, 7) :: act(1, 2) :: act(1, 3) :: act(1, 6) \
  :: act(1, 7) :: act(2, 4) :: act(2, 5) :: act(2, 6) :: act(2, 7)
#else
#define EACH_SET(act) :: act(1) :: act(2) :: act(3) :: act(4) :: act(5) :: act(6)
#define EACH_NODE_AND_SET(act) \
  :: act(0, 1) :: act(0, 3) :: act(0, 5) :: act(1, 2) :: act(1, 3) :: act(1, 6) \
  :: act(2, 4) :: act(2, 5) :: act(2, 6)
#endif
