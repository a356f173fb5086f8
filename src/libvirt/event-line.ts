/** What libvirt tells of its domains, as `virsh event` prints it. */

export type DomainEvent =
  /** QEMU has the device; the guest may not have noticed yet. */
  | { type: 'device-added'; domain: string; alias: string }
  /** The guest has let go of the device, and QEMU has none any more. */
  | { type: 'device-removed'; domain: string; alias: string }
  /** The guest has refused to let go of it. */
  | { type: 'device-removal-failed'; domain: string; alias: string }
  /** For example `Started`, `Booted`; `Suspended`, `I/O Error`; `Stopped`, `Destroyed`. */
  | { type: 'lifecycle'; domain: string; event: string; detail: string }
  /**
   * A request of the guest failed. `action` is `pause` where the guest was stopped; `reason` is
   * `enospc` or what else libvirt knows, mostly nothing.
   */
  | {
      type: 'io-error';
      domain: string;
      path: string;
      alias: string;
      action: string;
      reason: string;
    }
  /** Events may have been missed before this one: look at what matters. */
  | { type: 'following' };

const line = /^event '([a-z0-9-]+)' for domain '(.*?)': (.*)$/;

/** The event of one line; undefined for what nobody here needs. */
export function parseEventLine(text: string): DomainEvent | undefined {
  const [, type, domain = '', said = ''] = line.exec(text) ?? [];
  switch (type) {
    case 'device-added':
    case 'device-removed':
    case 'device-removal-failed':
      return { type, domain, alias: said };
    case 'lifecycle': {
      const space = said.indexOf(' ');
      const [event, detail] =
        space < 0 ? [said, ''] : [said.slice(0, space), said.slice(space + 1)];
      return { type, domain, event, detail };
    }
    // The event `io-error` comes as well, for the same error and without a reason.
    case 'io-error-reason': {
      const match = /^(.*) \(([^()]*)\) (\S+) due to ?(.*)$/.exec(said);
      if (match === null) return undefined;
      const [, path = '', alias = '', action = '', reason = ''] = match;
      return { type: 'io-error', domain, path, alias, action, reason };
    }
    default:
      return undefined;
  }
}
