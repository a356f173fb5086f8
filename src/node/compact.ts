import { HyperscaleError } from '../errors.ts';
import { cancelCompact, wishCompact } from '../volume/compact.ts';
import { assertStep } from '../volume/invariants.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { findVolume } from './find-volume.ts';
import { atSealedPoint } from './sealed-point.ts';

/** Seals what is open, and notes that all that is sealed is to be compacted; that is done meanwhile. */
export async function compact(
  agent: Agent,
  idOrName: string,
  signal: AbortSignal,
): Promise<Volume> {
  const { store, environment } = agent.context;
  const { value } = findVolume(store, idOrName);
  if (value.role === 'base') {
    throw new HyperscaleError('not-allowed', `${value.id} was deleted, and clones need all of it`, {
      hint: 'Flatten its clones: then it goes.',
    });
  }
  return atSealedPoint(agent, value.id, signal, async (record) => {
    const next = wishCompact(record.value);
    if (next === record.value) return next;
    assertStep(record.value, next);
    const operation = environment.randomId();
    return (await store.swap(record, { ...next, operation }))?.value;
  });
}

/** Gives a compact up that is under way; none is fine. What is done stays. */
export function endCompacting(agent: Agent, idOrName: string): Promise<Volume> {
  const { id } = findVolume(agent.context.store, idOrName).value;
  return agent.worker(id).change(cancelCompact);
}
