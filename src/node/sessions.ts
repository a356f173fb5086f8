import { HyperscaleError } from '../errors.ts';
import type { SessionId } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** A head that has not let go of a session by then is ended. */
const revokeTimeoutMs = 3_000;

/** Makes the head here export these sessions and no others. A new epoch settles what it cannot. */
export async function syncSessions(
  worker: VolumeWorker,
  change: { add: readonly SessionId[]; remove: readonly SessionId[] },
): Promise<void> {
  await worker.gate.run(async () => {
    // Rule 15: a new session is served only after the requests of the old ones are settled.
    for (const session of change.remove) await revoke(worker, session);
    for (const session of change.add) await worker.head?.addSession(session);
  });
}

/**
 * Before somebody else forwards a session's requests: whatever its earlier connections had under way
 * is done, and what still travels finds nobody. Else an old write of a proxy that died could land on
 * what its consumer has written since. Call it behind the gate.
 * @throws `conflict` when the head here does not serve the session.
 */
export async function settleSession(worker: VolumeWorker, session: SessionId): Promise<void> {
  const { head } = worker;
  if (head?.state.sessions.includes(session) !== true) {
    throw new HyperscaleError('conflict', `session ${session} is not served here any more`);
  }
  await revoke(worker, session);
  await head.addSession(session);
}

async function revoke(worker: VolumeWorker, session: SessionId): Promise<void> {
  const { head } = worker;
  const gateway = worker.gateways.get(session);
  worker.gateways.delete(session);
  await gateway?.kill();
  try {
    await head?.removeSession(session, revokeTimeoutMs);
  } catch (error) {
    // A head that does not let go is not asked again: it ends, and a new epoch settles it.
    worker.setHead(null);
    await head?.kill();
    throw error;
  }
}
