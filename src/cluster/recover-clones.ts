/** What a recovery does about records that go on from others. Pure. */
import { errorText } from '../errors.ts';
import { addClone } from '../volume/clone.ts';
import { assertRecord } from '../volume/invariants.ts';
import { clonesOf, placeOf } from '../volume/marks.ts';
import type { Volume } from '../volume/types.ts';
import type { VolumePlan } from './recover-types.ts';

/**
 * The plans, with every clone noted in the record that it goes on from: of a note that came back
 * older than its clone it is made again, before anything could be merged or deleted under the clone.
 * A clone whose parent does not come back, or without the layer, shows nothing and is left out.
 */
export function withClonesNoted(plans: readonly VolumePlan[]): VolumePlan[] {
  const byId = new Map(plans.map((plan) => [plan.id, plan]));
  // One that is left out may be the parent of another.
  for (let again = true; again; ) {
    again = false;
    for (const plan of byId.values()) {
      const why = whyAlone(plan.record, byId);
      if (why === null) continue;
      byId.set(plan.id, leftOut(plan, why));
      again = true;
    }
  }
  for (const { record } of [...byId.values()]) {
    if (record?.parent === undefined || record.tail.phase === 'deleting') continue;
    const { volume, layer } = record.parent;
    const parent = byId.get(volume);
    if (parent?.record == null) continue;
    if (clonesOf(parent.record).some((c) => c.volume === record.id)) continue;
    byId.set(volume, noted(parent, parent.record, { volume: record.id, layer }));
  }
  return plans.map((plan) => byId.get(plan.id) ?? plan);
}

/** Why a record cannot go on from its parent, or null. */
function whyAlone(record: Volume | null, plans: ReadonlyMap<string, VolumePlan>): string | null {
  if (record?.parent === undefined || record.tail.phase === 'deleting') return null;
  const { volume, layer } = record.parent;
  const parent = plans.get(volume)?.record ?? null;
  if (parent === null) return `what it was cloned from (${volume}) is not there`;
  return placeOf(parent, layer) < 0 ? `what it was cloned from (${parent.name}) was merged` : null;
}

function leftOut(plan: VolumePlan, why: string): VolumePlan {
  return {
    ...plan,
    outcome: 'impossible',
    losses: [...plan.losses, `${why}: left out`],
    record: null,
    unchanged: false,
    fence: null,
  };
}

function noted(
  plan: VolumePlan,
  record: Volume,
  clone: { volume: string; layer: string },
): VolumePlan {
  try {
    const next = addClone(record, clone);
    assertRecord(next);
    const notes = [...plan.notes, `clone ${clone.volume} is noted in it again`];
    return { ...plan, record: next, unchanged: false, notes };
  } catch (error) {
    return {
      ...plan,
      notes: [...plan.notes, `a clone cannot be noted in it: ${errorText(error)}`],
    };
  }
}
