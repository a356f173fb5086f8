/**
 * After an evacuation: the old guest of a node that comes back is ended and its definition removed.
 * It can change nothing any more (its attachments were revoked before the new one was started), but
 * it must not be taken for the real one, nor be started again.
 */
import { changeVm, type MoveContext } from './move-context.ts';
import { cleared, isLeftover, type VmRecord } from './record.ts';

/** Removes the domain of this node whose record says that it was evacuated from here. */
export async function removeLeftover(context: MoveContext, record: VmRecord): Promise<void> {
  const { self, domains, events } = context;
  const { uuid, name } = record;
  // What was read may be old: whoever has the record now has the say.
  const now = (await context.records.read(uuid))?.value;
  if (now === undefined || !now.leftOn.includes(self)) return;
  if (isLeftover(now, self) && (await domains.presence(uuid)) !== 'absent') {
    await domains.remove(uuid);
    events.emit(
      'vm.leftover-removed',
      `The old guest ${name} on ${self} was removed: it was evacuated to ${now.node}.`,
      { values: { vm: uuid, node: now.node } },
    );
  }
  await changeVm(context, uuid, (r) => (r.leftOn.includes(self) ? cleared(r, self) : null));
}
