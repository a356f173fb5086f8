/** Whether a guest can be live-migrated. */
import { HyperscaleError } from '../errors.ts';
import type { NodeName } from '../volume/types.ts';
import { localDisks } from './disks.ts';
import { liveNode, type MoveContext } from './move-context.ts';
import type { DomainSeen, VmRecord } from './record.ts';

const askTimeoutMs = 10_000;

/** The guest as it is here. @throws before anything is done, saying why it cannot move. */
export async function movable(
  context: MoveContext,
  uuid: string,
  to: NodeName,
): Promise<DomainSeen> {
  const { self, domains } = context;
  const seen = await domains.see(uuid);
  if (seen?.presence !== 'active') {
    const name = seen?.name ?? uuid;
    throw new HyperscaleError('not-allowed', `${name} does not run on ${self}`, {
      hint: 'Only a running guest is live-migrated; see hscli vm list --cluster.',
    });
  }
  const { name } = seen;
  if (to === self) throw new HyperscaleError('not-allowed', `${name} runs on ${self} already`);
  liveNode(context, to);
  const local = localDisks(seen.liveXml ?? '', seen.volumes);
  if (local.length > 0) {
    throw new HyperscaleError(
      'not-allowed',
      `${name} has disks that ${to} cannot reach: ${local.join(', ')}`,
      { hint: 'Detach or eject them, or move their data to a volume.', values: { local } },
    );
  }
  if (seen.volumes.length === 0) {
    throw new HyperscaleError('not-allowed', `${name} has no volume of this cluster`, {
      hint: 'Use libvirt itself: virsh migrate.',
    });
  }
  await context.far(to, { timeoutMs: askTimeoutMs }).canRun();
  return seen;
}

/** @throws `conflict` unless the record is this node's, and nobody else's business. */
export function refuseUnready(record: VmRecord, self: NodeName, to: NodeName): void {
  const { name, node, migration, evacuation, leftOn } = record;
  const refuse = (why: string, hint: string): never => {
    throw new HyperscaleError('conflict', `${name} ${why}`, { hint });
  };
  const soon = 'Try again in a few seconds; see hscli vm list --cluster.';
  if (node !== self) refuse(`belongs to ${node} by now`, soon);
  if (migration !== null) refuse(`has a migration to ${migration.to} to be cleared up`, soon);
  if (evacuation !== null) refuse('is being started here', soon);
  if (leftOn.includes(to)) {
    refuse(
      `was evacuated from ${to}, where its old guest is not removed yet`,
      `It is when hyperscaled and libvirtd run on ${to}.`,
    );
  }
}
