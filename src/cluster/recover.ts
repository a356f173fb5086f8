/**
 * Plans the recovery of the records from what the pools and the store hold. Pure: the same
 * situation gives the same plan, so that one that was interrupted is simply planned again.
 */

import { errorText } from '../errors.ts';
import { isNameless } from '../volume/delete.ts';
import { withClonesNoted } from './recover-clones.ts';
import { clusterOf } from './recover-order.ts';
import type { Candidate, RecoverPlan, Situation, VolumePlan } from './recover-types.ts';
import { planVolume } from './recover-volume.ts';

/** What is done about every volume that anybody knows, and whether it may be done at all. */
export function planRecovery(situation: Situation): RecoverPlan {
  const byVolume = Map.groupBy(situation.candidates, (c) => c.volume.id);
  const planned = [...byVolume.values()].map((c) => planOrGiveUp(c, situation));
  const volumes = withUniqueNames(withClonesNoted(planned)).sort((a, b) =>
    a.name.localeCompare(b.name),
  );
  const silent = [...new Set(situation.silent.map((s) => s.node))];
  const away = situation.silent.map(
    ({ node, why }) =>
      `${node} does not answer (${why}); volumes that only it knows come back when you run this again with it`,
  );
  return {
    volumes,
    nodes: [...situation.records],
    retired: [...situation.retired],
    findings: [...situation.findings, ...away],
    losses: volumes.flatMap((v) => v.losses.map((loss) => `volume ${v.name}: ${loss}`)),
    refused: foreign(situation, silent),
  };
}

/** A record that is damaged in a way that nobody thought of costs its own volume at most. */
function planOrGiveUp(candidates: readonly Candidate[], situation: Situation): VolumePlan {
  try {
    return planVolume(candidates, situation);
  } catch (error) {
    const { volume, node } = candidates[0] as Candidate;
    return {
      id: volume.id,
      name: volume.name,
      outcome: 'impossible',
      epoch: volume.epoch,
      from: node,
      notes: [],
      losses: [`its records make no sense: ${errorText(error)}`],
      missing: [],
      record: null,
      unchanged: false,
      fence: null,
    };
  }
}

/** A store that belongs to somebody else is never written to. */
function foreign({ store, candidates }: Situation, silent: readonly string[]): string | null {
  if (store.clusterId === null) return null;
  const cluster = clusterOf(store.clusterId);
  if (candidates.some((c) => c.node !== null && clusterOf(c.clusterId) === cluster)) return null;
  const kept = new Set(candidates.filter((c) => c.node !== null).map((c) => c.volume.id));
  const strange = candidates.filter((c) => c.node === null && !kept.has(c.volume.id));
  if (strange.length === 0) return null;
  const names = strange.map((c) => c.volume.name).join(', ');
  const hint = silent.length > 0 ? `, unless ${silent.join(', ')} knows them` : '';
  return `the store holds volumes that no node here has ever known (${names}): it is another cluster's${hint}`;
}

/** A name is taken once: of two volumes the one that changed last keeps it. */
function withUniqueNames(plans: readonly VolumePlan[]): VolumePlan[] {
  const taken = new Map<string, VolumePlan>();
  const lives = ({ record }: VolumePlan) => record !== null && !isNameless(record);
  const first = [...plans].sort(
    (a, b) => Number(b.unchanged) - Number(a.unchanged) || b.epoch - a.epoch,
  );
  return first.map((plan) => {
    if (!lives(plan)) return plan;
    if (!taken.has(plan.name)) {
      taken.set(plan.name, plan);
      return plan;
    }
    const name = `${plan.name.slice(0, 54)}-${plan.id.slice(0, 8)}`;
    const notes = [...plan.notes, `its name ${plan.name} is taken; it is called ${name} now`];
    return { ...plan, name, notes, record: plan.record && { ...plan.record, name } };
  });
}
