/*
 * The protocol of HyperScale: docs/design/protocol.md and rules.md, as built in src/volume and
 * src/node. One volume, one block of it, three nodes. Checked by `node spec/check.ts`; what is
 * modelled and what is not: docs/design/model.md.
 *
 * How to read it. The system is one loop of actions. An action is a guard and an effect, and is one
 * `d_step`: nothing comes between. An action that is enabled may also never happen, and that is how
 * everything slow, delayed, lost or silent is modelled: a message that is not delivered, an agent
 * that is stuck, a node that is down are actions that are not taken. Nobody can see the difference,
 * so nobody needs to be told that a node is "down", and every suspicion may be wrong.
 *
 * Why whole steps may be one action. A swap of the record is atomic in the store. What a step does on
 * one node before its swap is atomic here only where nobody else can see or change what lies between;
 * the comment at each action says why. Where it matters (the end of the old head and the confirm, the
 * confirm and the start of the new head, a fence and the seal, a write at each member) there are
 * separate actions.
 *
 * Values. Writes are numbered from 1 in the order in which consumers issue them, and the block holds
 * the number of the write that wrote it; 0 is a hole that shows the layer below. A read is right when
 * it returns no less than what was acknowledged and no less than what was read before.
 *
 * Bounds: E epochs, W writes, and how often each fault may strike (faults.pml).
 */
#include "settings.pml"
#include "state.pml"
#include "tidy.pml"
#include "properties.pml"
#include "progress.pml"
#include "head.pml"
#include "consumer.pml"
#include "roll.pml"
#include "takeover.pml"
#include "repair.pml"
#include "merge.pml"
#include "delete.pml"
#include "faults.pml"

init {
  d_step {
    members[1] = FIRST_MEMBERS;
    head[1] = LIVE;
    served = 1;
    connection = 1;
#ifdef DELETE
    file[1] = FIRST_MEMBERS
#endif
  }
  do
    /* consumer.pml */
    :: issue_write
    EACH_EPOCH(connect)
    EACH_EPOCH(take_write)
    :: consumer_dies
#ifdef NO_REVOKE
    EACH_EPOCH(zombie_replays)
#endif
#ifdef REVOCATION
    :: revoke
    EACH_EPOCH(session_ends)
    :: report_revocation
    EACH_EPOCH(old_repeats)
#endif
    /* head.pml */
    EACH_EPOCH_AND_NODE(deliver)
    EACH_EPOCH(make_stable)
    EACH_EPOCH(reply)
    EACH_EPOCH(start_head)
#ifdef NO_BURN
    EACH_EPOCH(start_again)
#endif
#ifndef PROGRESS
    EACH_EPOCH(end_superseded)
    EACH_EPOCH(read_block)
#endif
    /* roll.pml */
    EACH_SET(prepare_roll)
    EACH_NODE_AND_SET(prepare_open)
    :: abandon_opening
    :: end_old_head(GRACEFUL)
    :: end_old_head(KILLED)
    :: confirm
    :: close(GRACEFUL)
    :: close(KILLED)
    /* takeover.pml */
#ifdef PROGRESS
    EACH_NODE(begin_fencing)
#else
    :: begin_fencing(0)
#endif
    EACH_NODE(fence_member)
    EACH_NODE(complete_fencing)
#ifdef NO_LOOK_BEFORE_LEASE
    :: regain_lease
#endif
    /* repair.pml */
    EACH_EPOCH_AND_NODE(mend)
#ifdef NO_VERIFY
    EACH_EPOCH_AND_NODE(promote)
#endif
#ifdef COPIES
    EACH_COPY_OF(1, add_copy) /* the other layers are alike */
    EACH_COPY_OF(1, drop_copy)
#endif
#ifdef TRACK_FILES
    EACH_EPOCH_AND_NODE(delete_file)
#endif
    /* merge.pml */
#ifdef MERGE
    EACH_NODE(begin_merge)
    :: build_merge
    :: record_built
    :: late_record_built
#ifdef NO_BUILD_ONCE
    :: discard_attempt
#endif
    EACH_NODE(copy_merge)
    :: complete_merge
    :: abandon_merge
#endif
    /* delete.pml */
#ifdef DELETE
    :: mark_deleted
    :: remove_record
#endif
    /* faults.pml */
    EACH_EPOCH(head_dies)
    :: agent_dies
    EACH_NODE(lose_power)
    EACH_NODE(reboot)
#ifdef PROGRESS
    EACH_NODE(node_dies)
    /* progress.pml: the only ways in which a run may end */
    :: d_step { is_served -> skip } -> break
    :: d_step { is_hopeless -> skip } -> break
#endif
  od
}
