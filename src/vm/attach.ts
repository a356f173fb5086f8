/** Giving a volume to a guest of this node. */
import { errorText, HyperscaleError } from '../errors.ts';
import { type DiskConfig, type DiskSource, diskXml } from '../libvirt/disk-xml.ts';
import {
  type Domain,
  diskNode,
  diskOn,
  hasVirtioScsi,
  readDomain,
  targetsOf,
} from '../libvirt/domain.ts';
import { replaceDiskSource } from '../libvirt/domain-xml.ts';
import { writeXml } from '../libvirt/xml.ts';
import type { Volume } from '../volume/types.ts';
import { vmDisk } from './list.ts';
import { freeTarget, mustBeFree } from './targets.ts';
import { isAttachedHere, mustBeFirst, mustBeUnused } from './use.ts';
import type { VmContext } from './vm-context.ts';
import type { DiskWishes, VmDiskChange } from './vms.ts';

/** QEMU connects to the volume before libvirt answers. */
const attachTimeoutMs = 60_000;
/** Undoing does not depend on the caller, who may have gone away. */
const undoTimeoutMs = 60_000;

export type AttachWishes = DiskWishes & { persist: boolean };

/**
 * Attaches the volume on this node, puts it into the definition, then into the running guest; what
 * was done is undone when a later step fails. After a crash in between, the same call goes on.
 */
export async function attachDisk(
  context: VmContext,
  uuid: string,
  volume: Volume,
  wishes: AttachWishes,
  signal: AbortSignal,
): Promise<VmDiskChange> {
  const before = await readDomain(context.virsh, uuid);
  await mustStay(context, before);
  const into = {
    live: before.live !== null,
    config: before.config !== null && (wishes.persist || before.live === null),
  };
  if (!wishes.persist && !into.live) {
    throw new HyperscaleError('not-allowed', `domain '${before.name}' is shut off`, {
      hint: 'Leave out --no-persist: its definition is all there is.',
    });
  }
  mustBeNetworkDisk(before, volume);
  const wanted = wantedDisk(before, volume, wishes);
  await mustBeUnused(context, volume, uuid);
  const { node } = context.self;
  const wasAttached = isAttachedHere(context, volume);
  const undo: (() => Promise<unknown>)[] = [];
  if (!wasAttached) {
    undo.push(() => context.volumes.detach(volume.id, AbortSignal.timeout(undoTimeoutMs)));
  }
  let changed = !wasAttached;
  try {
    const { socket, session } = await context.volumes.attach(volume.id, signal);
    await mustBeFirst(context, volume.id);
    signal.throwIfAborted();
    const source: DiskSource = { type: 'network', socket, export: session };
    if (into.config && (await putIntoConfig(context, before, { ...wanted, source }, undo))) {
      changed = true;
    }
    if (into.live && (await putIntoGuest(context, before, { ...wanted, source }))) changed = true;
  } catch (error) {
    throw await undone(error, undo, volume);
  }
  const after = await readDomain(context.virsh, uuid);
  await context.noteDomain(uuid);
  const disk = vmDisk(after, volume);
  if (disk === undefined || disk.live !== into.live) {
    throw new HyperscaleError('conflict', `'${before.name}' lost volume ${volume.name} again`, {
      hint: 'Somebody else changed the domain meanwhile; look with: hscli vm list',
    });
  }
  return { node, uuid, vm: before.name, disk, changed, notes: [] };
}

/**
 * A disk that its owner put on the volume's block device stays on it.
 * @throws `conflict` when the domain has one
 */
export function mustBeNetworkDisk(
  { name, live, config }: Pick<Domain, 'name' | 'live' | 'config'>,
  volume: Pick<Volume, 'id' | 'name'>,
): void {
  for (const known of [diskOn(live, volume.id), diskOn(config, volume.id)]) {
    if (known?.source?.type !== 'block') continue;
    const { path } = known.source;
    throw new HyperscaleError(
      'conflict',
      `disk ${known.target} of '${name}' is volume ${volume.name} as block device ${path}`,
      {
        hint: `It stays one: make that device again with hscli volume device ${volume.name} --name NAME. Or take the disk out of the domain, then attach the volume.`,
        values: { volume: volume.id, target: known.target, path },
      },
    );
  }
}

/** The disk as the domain has it already, else as it was asked for. */
function wantedDisk(
  domain: Domain,
  volume: Volume,
  wishes: DiskWishes,
): Omit<DiskConfig, 'source'> {
  const { name, live, config } = domain;
  const known = diskOn(live, volume.id) ?? diskOn(config, volume.id);
  if (known !== undefined && wishes.target !== undefined && wishes.target !== known.target) {
    throw new HyperscaleError(
      'conflict',
      `volume ${volume.name} is disk ${known.target} of '${name}', not ${wishes.target}`,
      { hint: `Take it away first: hscli vm detach ${name} ${volume.name}` },
    );
  }
  const bus = wishes.bus ?? (known?.bus as DiskConfig['bus'] | undefined) ?? 'virtio';
  const taken = [...targetsOf(live), ...targetsOf(config)];
  const target = known?.target ?? wishes.target ?? freeTarget(taken, bus);
  if (known === undefined) {
    mustBeFree(target, taken, name);
    if (bus === 'scsi' && !hasVirtioScsi(live ?? config ?? '')) {
      throw new HyperscaleError('not-allowed', `domain '${name}' has no virtio-scsi controller`, {
        hint: "Give it one (<controller type='scsi' model='virtio-scsi'/>), or use --bus virtio.",
      });
    }
  }
  const { bootOrder, readOnly } = wishes;
  return {
    serial: volume.id,
    target,
    bus,
    ...(bootOrder === undefined ? {} : { bootOrder }),
    ...(readOnly === undefined ? {} : { readOnly }),
  };
}

/** @returns whether anything was changed */
async function putIntoConfig(
  { virsh }: VmContext,
  { uuid, config }: Domain,
  wanted: DiskConfig,
  undo: (() => Promise<unknown>)[],
): Promise<boolean> {
  const known = diskOn(config, wanted.serial);
  const change = (command: string, xml: string): Promise<string> =>
    virsh.run([command, '--domain', uuid, '--file', '/dev/stdin', '--config'], { stdin: xml });
  if (config === null || known === undefined) {
    await change('attach-device', diskXml(wanted));
    undo.push(() =>
      virsh.run(['detach-disk', '--domain', uuid, '--target', wanted.target, '--config']),
    );
    return true;
  }
  if (JSON.stringify(known.source) === JSON.stringify(wanted.source)) return false;
  // A session of before a reboot: all else stays as its owner has it.
  const renewed = replaceDiskSource(config, wanted.serial, wanted.source);
  await change('update-device', writeXml([diskNode(renewed, known.target)]));
  return true;
}

/** @returns whether anything was changed */
async function putIntoGuest(
  { virsh }: VmContext,
  { uuid, name, live }: Domain,
  wanted: DiskConfig,
): Promise<boolean> {
  const known = diskOn(live, wanted.serial);
  if (known !== undefined) {
    if (JSON.stringify(known.source) === JSON.stringify(wanted.source)) return false;
    throw new HyperscaleError(
      'conflict',
      `disk ${known.target} of '${name}' belongs to an attachment that was ended`,
      { hint: 'Its requests wait for ever. Take it away with hscli vm detach, then attach again.' },
    );
  }
  try {
    await virsh.run(['attach-device', '--domain', uuid, '--file', '/dev/stdin', '--live'], {
      stdin: diskXml(wanted),
      timeoutMs: attachTimeoutMs,
    });
  } catch (error) {
    // The domain says what really happened.
    const now = await readDomain(virsh, uuid).catch(() => undefined);
    if (diskOn(now?.live ?? null, wanted.serial) === undefined) throw error;
  }
  return true;
}

/** libvirt would wait half a minute, and then refuse. */
export async function mustStay(context: VmContext, { uuid, name }: Domain): Promise<void> {
  const presence = await context.presence(uuid);
  if (presence !== 'outgoing' && presence !== 'incoming') return;
  throw new HyperscaleError('conflict', `'${name}' is being migrated`, {
    hint: 'Its disks can be changed when it has arrived.',
  });
}

/** The error to throw after what was done was undone, or could not be. */
async function undone(
  error: unknown,
  undo: (() => Promise<unknown>)[],
  volume: Volume,
): Promise<unknown> {
  const failed: unknown[] = [];
  for (const step of undo.reverse()) {
    await step().catch((problem: unknown) => failed.push(problem));
  }
  const [first] = failed;
  if (first === undefined) return error;
  return new HyperscaleError(
    error instanceof HyperscaleError ? error.code : 'internal',
    `${errorText(error)}; and it could not be undone: ${errorText(first)}`,
    {
      hint: `See hscli vm list; then hscli volume detach ${volume.name}.`,
      values: { volume: volume.id },
      cause: error,
    },
  );
}
