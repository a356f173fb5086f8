/** Starts, on this node, a guest whose record was claimed for it. May be interrupted and repeated. */
import { errorText, HyperscaleError } from '../errors.ts';
import type { DiskSource } from '../libvirt/disk-xml.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeName, VolumeId } from '../volume/types.ts';
import { hasSources, withSources } from './disks.ts';
import { changeVm, type MoveContext } from './move-context.ts';
import { arrived, failedToArrive, type VmRecord } from './record.ts';

const attachTimeoutMs = 90_000;
const startTimeoutMs = 60_000;

export async function takeIn(
  context: MoveContext,
  uuid: string,
  signal: AbortSignal,
): Promise<{ outcome: 'started' | 'defined' }> {
  const { self, records } = context;
  const record = (await records.read(uuid))?.value;
  if (record === undefined) {
    throw new HyperscaleError('not-found', `domain ${uuid} is not recorded`);
  }
  const { name, node, evacuation, running } = record;
  if (node !== self) {
    throw new HyperscaleError('conflict', `${name} belongs to ${node} by now`);
  }
  const outcome = running ? 'started' : 'defined';
  if (evacuation === null) return { outcome };
  const { volumes } = record;
  const made = volumes.filter((id) => !isAttached(context, id, self));
  try {
    await start(context, record, signal);
  } catch (error) {
    await giveUp(context, record, made, errorText(error));
    throw error;
  }
  await changeVm(context, uuid, (r) => (r.node === self ? arrived(r) : null));
  const text = `${name} of ${evacuation.from} was ${outcome} on ${self}.`;
  context.events.emit('vm.evacuated', text, { values: { vm: uuid } });
  return { outcome };
}

async function start(context: MoveContext, record: VmRecord, stop: AbortSignal): Promise<void> {
  const { domains } = context;
  const { uuid, xml, liveXml, running } = record;
  const signal = AbortSignal.any([stop, AbortSignal.timeout(attachTimeoutMs)]);
  const sources = new Map(
    await Promise.all(record.volumes.map((id) => takeVolume(context, record, id, signal))),
  );
  const seen = await domains.see(uuid);
  // An earlier attempt may have got here; anything else with its name is an old life of it.
  if (seen?.liveXml != null && hasSources(seen.liveXml, sources)) return;
  if ((await domains.presence(uuid)) !== 'absent') await domains.remove(uuid);
  const give = (command: string, text: string) =>
    domains.virsh.run([command, '--file', '/dev/stdin'], {
      stdin: withSources(text, sources),
      timeoutMs: startTimeoutMs,
    });
  if (xml !== null) await give('define', xml);
  if (running) await give('create', liveXml ?? xml ?? '');
}

/** Nobody who may have had the guest before can change its volume when this resolves. */
async function takeVolume(
  { self, volumes }: MoveContext,
  { evacuation, leftOn }: VmRecord,
  id: VolumeId,
  signal: AbortSignal,
): Promise<[VolumeId, DiskSource]> {
  const before = new Set([...(evacuation === null ? [] : [evacuation.from]), ...leftOn]);
  before.delete(self);
  // The old writer's epoch ends only when another host wants the volume, so both at once.
  const [{ socket, session }] = await Promise.all([
    volumes.attach(id, self, signal),
    ...[...before].map((host) => volumes.forceDetach(id, host, signal)),
  ]);
  return [id, { type: 'network', socket, export: session }];
}

function isAttached({ volumes }: MoveContext, id: VolumeId, host: NodeName): boolean {
  const volume = volumes.get(id);
  return volume !== undefined && attachmentOn(volume, host) !== undefined;
}

/** Leaves nothing here, so that another node may be told to start it. */
async function giveUp(
  context: MoveContext,
  { uuid }: VmRecord,
  made: readonly VolumeId[],
  why: string,
): Promise<void> {
  const { self, domains, volumes, log } = context;
  try {
    await domains.remove(uuid);
    const signal = AbortSignal.timeout(attachTimeoutMs);
    await Promise.all(made.map((id) => volumes.detach(id, self, signal)));
    await changeVm(context, uuid, (r) => (r.node === self ? failedToArrive(r, why) : null));
  } catch (error) {
    // The claim stays: the command, repeated, goes on here.
    log.warn({ vm: uuid, error: errorText(error) }, 'a guest that did not start is not cleaned up');
  }
}
