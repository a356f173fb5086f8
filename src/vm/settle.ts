/**
 * Clears up after a live migration, however it ended and whoever began it: an attachment stays only
 * where the guest runs. Called at the end of each migration, and again and again for those whose
 * daemon died in the middle, or whose other end did not answer.
 */
import { errorText, isHyperscaleError } from '../errors.ts';
import type { NodeName, VolumeId } from '../volume/types.ts';
import type { FarPresence } from './migration-end.ts';
import { migrationEnd } from './migration-end.ts';
import { changeVm, isUp, type MoveContext } from './move-context.ts';
import { moved, settled, type VmMigration, type VmRecord } from './record.ts';

const askTimeoutMs = 5_000;
const detachTimeoutMs = 30_000;

/** `wait`: the end is not known yet, or not everything could be cleared up. */
export type Settlement = { end: 'stayed' | 'moved'; over: boolean } | { end: 'wait'; over: false };

/** True when it is for `self` to clear up: the source does, or the destination of a dead source. */
export function isToSettle(
  context: Pick<MoveContext, 'self' | 'node'>,
  migration: VmMigration,
): boolean {
  if (migration.from === context.self) return true;
  return migration.to === context.self && !isUp(context, migration.from);
}

/** @param known what libvirt itself said of the end, when it said so */
export async function settle(
  context: MoveContext,
  uuid: string,
  known: 'moved' | null = null,
): Promise<Settlement> {
  const record = (await context.records.read(uuid))?.value;
  const migration = record?.migration ?? null;
  if (record === undefined || migration === null) {
    const here = record === undefined || record.node === context.self;
    return { end: here ? 'stayed' : 'moved', over: true };
  }
  const there = await presenceOn(context, migration.to, uuid);
  const hasMoved = record.node === migration.to || known === 'moved';
  const end = hasMoved
    ? 'moved'
    : migrationEnd(await presenceOn(context, migration.from, uuid), there);
  if (end === 'wait') return { end, over: false };
  if (end === 'stayed') return { end, over: await rollBack(context, record, migration) };
  await changeVm(context, uuid, (r) => (r.migration === null ? null : moved(r)));
  // Its volumes are served from the source until the destination can serve them itself.
  if (there === 'unknown' || there === 'down') return { end, over: false };
  return { end, over: await leaveSource(context, record, migration) };
}

/** The guest runs where it ran: the destination gives up what the migration attached there. */
async function rollBack(
  context: MoveContext,
  record: VmRecord,
  { to, made }: VmMigration,
): Promise<boolean> {
  return (await detachAll(context, made, to)) && endOf(context, record.uuid);
}

async function leaveSource(
  context: MoveContext,
  record: VmRecord,
  { from }: VmMigration,
): Promise<boolean> {
  const others = (await context.records.list()).filter(
    ({ value }) => value.uuid !== record.uuid && value.node === from,
  );
  const stillUsed = new Set(others.flatMap(({ value }) => value.volumes));
  const unused = record.volumes.filter((volume) => !stillUsed.has(volume));
  return (await detachAll(context, unused, from)) && endOf(context, record.uuid);
}

async function endOf(context: MoveContext, uuid: string): Promise<boolean> {
  await changeVm(context, uuid, (r) => (r.migration === null ? null : settled(r)));
  return true;
}

/** True when all are detached. */
async function detachAll(
  { volumes, log }: MoveContext,
  ids: readonly VolumeId[],
  host: NodeName,
): Promise<boolean> {
  const done = await Promise.all(
    ids.map(async (id) => {
      try {
        await volumes.detach(id, host, AbortSignal.timeout(detachTimeoutMs));
        return true;
      } catch (error) {
        if (isHyperscaleError(error, 'not-found')) return true;
        log.warn({ volume: id, host, error: errorText(error) }, 'not detached yet');
        return false;
      }
    }),
  );
  return done.every(Boolean);
}

async function presenceOn(
  context: MoveContext,
  node: NodeName,
  uuid: string,
): Promise<FarPresence> {
  try {
    if (node === context.self) return await context.domains.presence(uuid);
    if (!isUp(context, node)) return context.leasesKnown() ? 'down' : 'unknown';
    return (await context.far(node, { timeoutMs: askTimeoutMs }).presence(uuid)).presence;
  } catch (error) {
    context.log.info({ node, uuid, error: errorText(error) }, 'cannot tell where a guest is');
    return 'unknown';
  }
}
