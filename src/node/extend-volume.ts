import type { Extended } from '../api/service.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { extendIdle, mustGrow } from '../volume/extend.ts';
import { isAtRest, writerOf } from '../volume/queries.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';

/** A host whose consumers do not know the new size by then is reported; it goes on by itself. */
const tellTimeoutMs = 25_000;
/** A writer that does not answer within this time is asked again, if it still is the writer. */
const rollTimeoutMs = 60_000;
/** Between two looks at a volume that others change meanwhile. */
const pauseMs = 100;
const rounds = 100;

/**
 * Makes a volume grow, and tells whatever uses it, on every host. Again with the same size is no
 * error: then only those are told that do not know yet.
 * @throws `bad-input` when it is larger already, `conflict` when it is being deleted or others keep
 *   changing it. Whatever is thrown, the volume has the old size, or this one or a larger one soon.
 */
export async function extendVolume(
  agent: Agent,
  id: VolumeId,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Extended> {
  const volume = await grow(agent, id, sizeBytes, signal);
  return { volume, consumers: await tellConsumers(agent, volume, signal) };
}

async function grow(
  agent: Agent,
  id: VolumeId,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Volume> {
  const { store, environment } = agent.context;
  const worker = agent.worker(id);
  for (let round = 0; round < rounds; round += 1) {
    signal.throwIfAborted();
    const volume = (await store.readVolume(id))?.value;
    if (volume === undefined) throw new HyperscaleError('not-found', `volume ${id} is gone`);
    if (!mustGrow(volume, sizeBytes)) return volume;
    const { phase } = volume.tail;
    try {
      if (phase === 'idle') return await worker.change((v) => extendIdle(v, sizeBytes));
      if (phase === 'open') await rollTo(agent, volume, sizeBytes, signal);
    } catch (error) {
      // It may be prepared or done, or be opened by somebody else by now.
      if (!(await isOnTheWay(agent, id, sizeBytes)) && !isPassing(error)) throw error;
    }
    // An epoch is being begun or ended: what comes of it is waited for.
    await worker.waitUntil(() => isAtRest(worker.volume), signal);
    if (round > 0) await new Promise<void>((resolve) => environment.after(pauseMs, resolve));
  }
  throw new HyperscaleError('conflict', `volume ${id} is being changed by others`, {
    hint: 'Try again.',
  });
}

/** The writer begins an epoch with a layer of the new size. */
async function rollTo(
  agent: Agent,
  volume: Volume,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const { self, peers } = agent.context;
  const writer = writerOf(volume);
  if (writer === null) return;
  if (writer === self.node) {
    await agent.worker(volume.id).roll({ reason: 'extend', sizeBytes }, signal);
  } else {
    const peer = peers.of(writer, { signal, timeoutMs: rollTimeoutMs });
    await peer.extend({ volume: volume.id, sizeBytes });
  }
}

async function isOnTheWay(agent: Agent, id: VolumeId, sizeBytes: number): Promise<boolean> {
  const volume = (await agent.context.store.readVolume(id))?.value;
  if (volume === undefined) return false;
  const { tail } = volume;
  return (
    volume.sizeBytes >= sizeBytes || (tail.phase === 'opening' && tail.next.sizeBytes >= sizeBytes)
  );
}

/** The record was another one, or the writer is no longer the one that was asked. */
function isPassing(error: unknown): boolean {
  return isHyperscaleError(error, 'conflict', 'not-allowed');
}

/** Every host that has it attached tells what uses it there. */
async function tellConsumers(
  agent: Agent,
  volume: Volume,
  signal: AbortSignal,
): Promise<Extended['consumers']> {
  const { self, peers } = agent.context;
  const told = volume.attachments.map(async ({ host }): Promise<Extended['consumers']> => {
    try {
      const consumers =
        host === self.node
          ? await agent.consumers.tell(volume.id)
          : await peers
              .of(host, { signal, timeoutMs: tellTimeoutMs })
              .resizeConsumers({ volume: volume.id });
      return consumers.map((consumer) => ({ node: host, ...consumer }));
    } catch (error) {
      signal.throwIfAborted();
      return [{ node: host, kind: 'host', name: host, problem: errorText(error) }];
    }
  });
  return (await Promise.all(told)).flat();
}
