/** Waiting until a guest has let go of a disk. */
import { HyperscaleError } from '../errors.ts';
import { aliasOf, diskOn, domainNow } from '../libvirt/domain.ts';
import type { DomainEvent } from '../libvirt/events.ts';
import { libvirtSaid } from '../libvirt/virsh.ts';
import type { VmContext } from './vm-context.ts';

/**
 * A guest that was not ready when it was asked (it was still booting) never heard of it, so it is
 * asked again; and the domain is looked at, in case an event was missed.
 */
const askEveryMs = 3_000;

type Wait = {
  uuid: string;
  /** libvirt's UUID is no part of its events. */
  name: string;
  target: string;
  /** The volume, as the disk's serial number. */
  serial: string;
  /** How long the guest is waited for. */
  guestMs: number;
};

/**
 * Asks the guest to let go of a disk; resolves when QEMU has none any more, also when it is gone
 * already. libvirt's own answer would say only that the guest was asked.
 *
 * @throws `guest-refused` when the guest says no or nothing; `cancelled`
 */
export async function releaseDisk(
  context: Pick<VmContext, 'virsh' | 'events'>,
  wait: Wait,
  signal: AbortSignal,
): Promise<void> {
  const { virsh, events } = context;
  const { uuid, name, target, serial, guestMs } = wait;
  const first = await domainNow(virsh, uuid);
  if (!first?.live || diskOn(first.live, serial) === undefined) return;
  const alias = aliasOf(first.live, target);
  const deadline = performance.now() + guestMs;
  const heard: DomainEvent[] = [];
  let wake = (): void => undefined;
  const unlisten = events.on((event) => {
    const isOurs = 'alias' in event && event.domain === name && event.alias === alias;
    const isOver = event.type === 'lifecycle' && event.domain === name && event.event === 'Stopped';
    if (!isOurs && !isOver && event.type !== 'following') return;
    heard.push(event);
    wake();
  });
  signal.addEventListener('abort', () => wake(), { once: true });
  try {
    for (;;) {
      await ask(context, uuid, alias);
      if (heard.length === 0) {
        const left = Math.min(askEveryMs, deadline - performance.now());
        await pause(left, (resolve) => {
          wake = resolve;
          if (heard.length > 0 || signal.aborted) resolve();
        });
      }
      const now = await domainNow(virsh, uuid);
      if (now === undefined || diskOn(now.live, serial) === undefined) return;
      if (signal.aborted) {
        throw new HyperscaleError('cancelled', `the caller no longer waits for '${name}'`);
      }
      if (heard.some((event) => event.type === 'device-removal-failed')) {
        throw refused(wait, 'says that it cannot let go of it');
      }
      if (performance.now() >= deadline) {
        const why = now.state === 'running' ? '' : `is ${now.state} and `;
        throw refused(wait, `${why}did not let go of it within ${guestMs / 1000} s`);
      }
      heard.length = 0;
    }
  } finally {
    unlisten();
  }
}

async function ask(
  { virsh }: Pick<VmContext, 'virsh'>,
  uuid: string,
  alias: string,
): Promise<void> {
  try {
    await virsh.run(['detach-device-alias', '--domain', uuid, '--alias', alias, '--live']);
  } catch (error) {
    // It was asked before and has not answered yet, or it has let go meanwhile.
    if (libvirtSaid(error, /in the process of unplug|not found|no device found|not running/i))
      return;
    throw error;
  }
}

async function pause(milliseconds: number, wakeUp: (resolve: () => void) => void): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, milliseconds));
    wakeUp(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function refused({ name, target, uuid, serial }: Wait, how: string): HyperscaleError {
  return new HyperscaleError('guest-refused', `disk ${target} of '${name}': the guest ${how}`, {
    hint:
      'Nothing was changed: the volume stays attached. Unmount the disk in the guest, see that it ' +
      'runs and supports hot unplugging, and repeat the command (also if it lets go later).',
    values: { uuid, target, volume: serial },
  });
}
