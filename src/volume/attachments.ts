import type { Attachment, NodeName, Volume } from './types.ts';

/** Attachments without those of these hosts, and without what only stood in for them. */
export function withoutHosts(
  attachments: readonly Attachment[],
  hosts: readonly NodeName[],
): Attachment[] {
  return attachments.filter(
    ({ host, standInFor }) =>
      !hosts.includes(host) && (standInFor === undefined || !hosts.includes(standInFor)),
  );
}

/** Attachments with a consumer, for people: none that stand in for another host's. */
export function consumersOf(volume: Volume): Attachment[] {
  return volume.attachments.filter((a) => a.standInFor === undefined);
}
