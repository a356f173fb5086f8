/** The part of a live migration that is libvirt's. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DiskSource } from '../libvirt/disk-xml.ts';
import type { NodeView, VolumeId } from '../volume/types.ts';
import { withSources } from './disks.ts';
import type { MoveContext } from './move-context.ts';
import type { DomainSeen } from './record.ts';

/** A cancellation reaches libvirt only when its job has begun. */
const abortAgainMs = 200;

/** Has libvirt send the guest; resolves when it runs at the destination. */
export async function sendGuest(
  context: MoveContext,
  seen: DomainSeen,
  to: NodeView,
  sources: ReadonlyMap<VolumeId, DiskSource>,
  stop: AbortSignal,
): Promise<void> {
  const { domains, directory, environment, migrationUri } = context;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const base = join(directory, environment.randomId());
  const [liveFile, file] = [`${base}-live.xml`, `${base}.xml`];
  const over = new AbortController();
  try {
    const write = (path: string, xml: string) =>
      writeFile(path, withSources(xml, sources), { mode: 0o600 });
    await write(liveFile, seen.liveXml ?? '');
    if (seen.xml !== null) await write(file, seen.xml);
    const persistent = ['--persistent', '--undefinesource', '--persistent-xml', file];
    const address = to.address.includes(':') ? `[${to.address}]` : to.address;
    const sent = domains.virsh.run(
      [
        ...['migrate', '--live', '--p2p', '--abort-on-error', '--auto-converge'],
        ...(seen.xml === null ? [] : persistent),
        ...['--xml', liveFile, '--domain', seen.uuid],
        ...['--desturi', migrationUri(to), '--migrateuri', `tcp://${address}`],
      ],
      { timeoutMs: 0 },
    );
    const [result] = await Promise.allSettled([
      sent.finally(() => over.abort()),
      abortWhen(context, seen.uuid, stop, over.signal),
    ]);
    if (result.status === 'rejected') {
      stop.throwIfAborted();
      throw result.reason;
    }
  } finally {
    await Promise.all([liveFile, file].map((path) => rm(path, { force: true })));
  }
}

/** Asks libvirt to end the migration once `stop` fires, until it is `over`. */
async function abortWhen(
  { domains }: MoveContext,
  uuid: string,
  stop: AbortSignal,
  over: AbortSignal,
): Promise<void> {
  const either = AbortSignal.any([stop, over]);
  if (!either.aborted) {
    await new Promise<void>((resolve) => {
      either.addEventListener('abort', () => resolve(), { once: true });
    });
  }
  while (!over.aborted) {
    // It says no before the job has begun and after it has ended.
    await domains.virsh.run(['domjobabort', '--domain', uuid]).catch(() => undefined);
    await delay(abortAgainMs, null, { signal: over }).catch(() => undefined);
  }
}
