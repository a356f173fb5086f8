/*
 * Delete (src/volume/delete.ts): the record becomes a tombstone until every holder has deleted its files;
 * then it is removed. Nobody has the volume attached.
 */
#ifdef DELETE
#define mark_deleted d_step { \
  phase < DELETING && connection == 0 && waiting == 0 && consumer_deaths != 0 -> do_mark_deleted() }
inline do_mark_deleted() {
  printf("the volume is deleted\n");
  phase = DELETING;
  current = 0;
  next = 0;
  forget_answers();
  i = 1;
  do
    :: i > E -> break
    :: else ->
      garbage[i] = garbage[i] | file[i];
      clean[i] = 0;
      doubtful[i] = 0;
      i++
  od;
  swap
}

#ifdef NO_TOMBSTONE
#define nothing_left 1
#else
#define nothing_left (garbage[1] == 0 && garbage[2] == 0 && (E < 3 || garbage[E] == 0))
#endif
#define remove_record d_step { phase == DELETING && nothing_left -> do_remove_record() }
inline do_remove_record() {
  printf("the record is removed\n");
  phase = REMOVED;
  i = 1;
  do
    :: i > E -> break
    :: else ->
      must(file[i] == 0, "a file is left that no record knows");
      i++
  od;
  skip
}
#endif
