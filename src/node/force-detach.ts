import { errorText, HyperscaleError } from '../errors.ts';
import { detach } from '../volume/attach.ts';
import { attachmentOn, unsealedLayer, writerOf } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Beyond this the caller is told what is waited for; the revocation stays. */
const settleTimeoutMs = 30_000;
/** The head's node is asked again after this time when it did not answer. */
const askAgainMs = 1_000;

/**
 * Revokes an attachment in the record, without asking its host, and waits until the old consumer can
 * change nothing any more (protocol review, rule 4): the head's node has removed its export, or the
 * epoch in which it was served has ended.
 */
export async function forceDetach(
  agent: Agent,
  id: string,
  host: string,
  signal: AbortSignal,
): Promise<void> {
  const { environment, events, self } = agent.context;
  const worker = agent.worker(id);
  const revoke = () => revokeAttachment(worker, host);
  // A block device elsewhere finds no export any more, and its own node ends it.
  const { revoked, session } =
    host === self.node ? await agent.devices.ending(id, true, revoke) : await revoke();
  if (session !== undefined) {
    events.emit(
      'volume.revoked',
      `The attachment of ${revoked.name} on ${host} was revoked on ${self.node}.`,
      {
        volume: id,
      },
    );
  }
  const served = unsealedLayer(revoked);
  if (served === null || (session === undefined && served.writer !== host)) return;
  const late = new AbortController();
  const cancel = environment.after(settleTimeoutMs, () => late.abort());
  const either = AbortSignal.any([signal, late.signal]);
  const ended = () => epochEnded(worker.volume, served.id);
  try {
    const waits = [worker.waitUntil(ended, either)];
    if (served.writer !== host && session !== undefined) {
      waits.push(untilRevoked(agent, id, served.writer, session, either));
    }
    await Promise.any(waits);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw stillWaiting(worker.volume ?? revoked, host, served.writer, error);
  } finally {
    cancel();
    late.abort();
  }
}

/** Takes a host's attachment out of the record; none is fine. `session`: which one it was. */
export async function revokeAttachment(
  worker: VolumeWorker,
  host: string,
): Promise<{ revoked: Volume; session: string | undefined }> {
  // Cut off from the store, the cache may not know of the attachment that is to end.
  const known = worker.volume && attachmentOn(worker.volume, host) !== undefined;
  let session: string | undefined;
  const revoked = await worker.change(
    (v) => {
      session = attachmentOn(v, host)?.session;
      return detach(v, host);
    },
    known ? {} : { newest: true },
  );
  return { revoked, session };
}

/**
 * What a detached host of this node forwarded may still be under way in the head elsewhere: resolves
 * when it is settled. A head whose node is down goes with its epoch, which must end before anybody
 * else is served.
 */
export async function untilForwardedSettled(
  agent: Agent,
  revoked: Volume,
  session: string,
  signal: AbortSignal,
): Promise<void> {
  const { self, store } = agent.context;
  const served = unsealedLayer(revoked);
  if (served === null || served.writer === self.node) return;
  const worker = agent.worker(revoked.id);
  const over = () =>
    epochEnded(worker.volume, served.id) || (store.node(served.writer)?.lease ?? null) === null;
  const enough = new AbortController();
  const either = AbortSignal.any([signal, enough.signal]);
  try {
    await Promise.any([
      worker.waitUntil(over, either),
      untilRevoked(agent, revoked.id, served.writer, session, either),
    ]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    enough.abort();
  }
}

/** The layer that was being written is sealed, given up, or its volume gone. */
function epochEnded(volume: Volume | undefined, layer: string): boolean {
  if (volume === undefined) return true;
  const unsealed = unsealedLayer(volume);
  return unsealed?.id !== layer;
}

/** Resolves when the head on `node` exports the session no longer. */
async function untilRevoked(
  agent: Agent,
  volume: string,
  node: string,
  session: string,
  signal: AbortSignal,
): Promise<void> {
  const { self, peers, environment } = agent.context;
  const request = { volume, session };
  for (;;) {
    signal.throwIfAborted();
    try {
      if (node === self.node) {
        const worker = agent.worker(volume);
        return await worker.waitUntil(() => servesNot(worker, session), signal);
      }
      return await peers.of(node, { signal }).revoked(request);
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise<void>((resolve) => environment.after(askAgainMs, resolve));
    }
  }
}

/** The head here exports the session no longer, and no new one will. */
export function servesNot({ head, volume, context }: VolumeWorker, session: string): boolean {
  if (head !== null) return !head.state.sessions.includes(session);
  return volume === undefined || writerOf(volume) !== context.self.node;
}

function stillWaiting(
  volume: Volume,
  host: string,
  writer: string,
  cause: unknown,
): HyperscaleError {
  const own = writer === host;
  return new HyperscaleError(
    'timeout',
    `volume ${volume.name} is detached from ${host} in the record, but its old consumer may still write: ` +
      (own
        ? `${host} itself serves it and its epoch has not been ended`
        : `${writer}, which serves it, has not said that its export is gone`),
    {
      hint: own
        ? `It ends when ${host} answers, or when its lease has run out and the volume is taken over: attach it on another node. See hscli volume show ${volume.name}.`
        : `It ends when ${writer} answers, or when the volume is taken over from it. See hscli volume show ${volume.name}.`,
      values: { volume: volume.id, host, writer, cause: errorText(cause) },
      cause,
    },
  );
}
