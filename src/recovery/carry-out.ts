import { createHash } from 'node:crypto';
import type { RecoverPlan, VolumePlan } from '../cluster/recover-types.ts';
import { HyperscaleError } from '../errors.ts';
import type { RecoveryStore } from '../store/recovery-store.ts';
import { isNameless } from '../volume/delete.ts';

/** Stands for what a person has agreed to; revisions and the wording of failures are none of it. */
export function digestOf({ volumes, losses, refused }: RecoverPlan): string {
  const essence = volumes.map(({ id, name, outcome, epoch, record }) => [
    id,
    name,
    outcome,
    epoch,
    record?.tail.phase,
  ]);
  const text = JSON.stringify([essence, losses.length, refused]);
  return createHash('sha256').update(text).digest('hex');
}

/**
 * @throws `not-allowed` for a store of another cluster, `unavailable` when acknowledged writes may be
 *   lost and that is not accepted.
 */
export function assertAllowed(plan: RecoverPlan, request: { acceptDataLoss: boolean }): void {
  if (plan.refused !== null) {
    throw new HyperscaleError('not-allowed', plan.refused, {
      hint: 'Correct the setting etcd in the configuration of this node.',
    });
  }
  if (plan.losses.length === 0 || request.acceptDataLoss) return;
  const missing = [...new Set(plan.volumes.flatMap((v) => v.missing))].sort();
  throw new HyperscaleError(
    'unavailable',
    `acknowledged writes may be lost: ${plan.losses.join('; ')}`,
    {
      hint:
        missing.length > 0
          ? `Start hyperscaled on ${missing.join(', ')} and run this again, or say --accept-data-loss.`
          : 'Say --accept-data-loss to go on without them.',
      values: { losses: plan.losses, missing },
    },
  );
}

/** Writes what was planned. @returns the revision of the last record. */
export async function writePlan(
  store: RecoveryStore,
  clusterId: string,
  plan: RecoverPlan,
): Promise<string> {
  const content = await store.read();
  const revisionOf = (id: string) => content.volumeRevisions.get(id) ?? '0';
  let revision = content.revision;
  for (const mark of plan.retired) revision = await store.putRetired(clusterId, mark);
  for (const node of plan.nodes) revision = await store.putNode(clusterId, node);
  // Names are freed before they are taken.
  const frees = ({ record }: VolumePlan) => Number(record !== null && isNameless(record));
  const inOrder = [...plan.volumes].sort((a, b) => frees(b) - frees(a));
  for (const volume of inOrder.filter((v) => v.outcome === 'gone')) {
    revision = await store.removeVolume(clusterId, volume, revisionOf(volume.id));
  }
  for (const { id, record, unchanged } of inOrder) {
    if (record === null || unchanged) continue;
    revision = await store.putVolume(clusterId, record, revisionOf(id));
  }
  return revision;
}
