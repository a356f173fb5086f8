import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Versioned } from '../store/store.ts';
import { isAtRest, writerOf } from '../volume/queries.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';

/** A seal on another node, which may have to end an old head first, takes less than this. */
const sealTimeoutMs = 30_000;
/** Between looks at a volume that others change meanwhile. */
const pauseMs = 50;
const rounds = 100;

/**
 * Works with a record in which everything is sealed that was acknowledged before the call: seals the
 * open layer first if there is one.
 * @param step gets the record as the store has it. What it does must depend on that revision, so
 *   that the record cannot have changed: undefined, or a `conflict`, when it has; then it is called
 *   again with a newer one.
 * @throws `not-found`, `conflict` when others keep changing the volume, what `step` throws, and
 *   `unavailable` when there is no room for another layer.
 */
export async function atSealedPoint<T>(
  agent: Agent,
  id: VolumeId,
  signal: AbortSignal,
  step: (record: Versioned<Volume>) => Promise<T | undefined>,
): Promise<T> {
  const { store, environment } = agent.context;
  /** The layer that was open at first; when it is open no more, all that matters is sealed. */
  let open: string | null | undefined;
  for (let round = 0; round < rounds; round += 1) {
    signal.throwIfAborted();
    const record = await store.readVolume(id);
    if (record === undefined) throw new HyperscaleError('not-found', `volume ${id} is gone`);
    const { tail } = record.value;
    const now = tail.phase === 'open' ? tail.layer.id : null;
    const settled = isAtRest(record.value);
    if (settled) open ??= now;
    try {
      if (settled && now !== null && now === open) await seal(agent, record.value, signal);
      else if (settled) {
        const done = await step(record);
        if (done !== undefined) return done;
      }
    } catch (error) {
      // The record was another one, or the writer is no longer the one that was asked.
      if (!isHyperscaleError(error, 'conflict', 'not-allowed') || !(await hasMoved(agent, record)))
        throw error;
    }
    if (!settled) {
      const worker = agent.worker(id);
      await worker.waitUntil(() => isAtRest(worker.volume), signal);
    }
    if (round > 1) await new Promise<void>((resolve) => environment.after(pauseMs, resolve));
  }
  throw new HyperscaleError('conflict', `volume ${id} is being changed by others`, {
    hint: 'Try again.',
  });
}

async function seal(agent: Agent, volume: Volume, signal: AbortSignal): Promise<void> {
  const { self, peers } = agent.context;
  const writer = writerOf(volume);
  if (writer === self.node) await agent.worker(volume.id).roll({ reason: 'seal' }, signal);
  else if (writer !== null) {
    await peers.of(writer, { signal, timeoutMs: sealTimeoutMs }).seal(volume.id);
  }
}

async function hasMoved(agent: Agent, record: Versioned<Volume>): Promise<boolean> {
  const now = await agent.context.store.readVolume(record.value.id);
  return now?.revision !== record.revision;
}
