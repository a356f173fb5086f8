import { HyperscaleError } from '../errors.ts';
import { withoutHosts } from './attachments.ts';
import { maxAttachments } from './bounds.ts';
import { attachmentOn } from './queries.ts';
import { refuse } from './refuse.ts';
import type { Attachment, NodeName, Volume } from './types.ts';

/**
 * Records a consumer on a host. The same host in the same boot keeps its session, so attach is
 * idempotent; after a reboot the consumer is another one and gets a new session (rule 15).
 */
export function attach(volume: Volume, attachment: Attachment): Volume {
  if (volume.tail.phase === 'deleting') refuse(volume, 'attach', 'it is being deleted');
  if (volume.importing !== undefined) refuse(volume, 'attach', 'it is being imported');
  if (volume.role !== undefined) {
    throw new HyperscaleError('not-allowed', `${volume.name} is an image, which nobody writes`, {
      hint: `Make a volume from it: hscli volume create NAME --image ${volume.name}`,
      values: { volume: volume.id },
    });
  }
  const known = attachmentOn(volume, attachment.host);
  const isItsHost = known?.boot === attachment.boot && known.standInFor === undefined;
  if (volume.view !== undefined && !isItsHost) {
    refuse(volume, 'attach', 'it was shown to one host, and that is over');
  }
  if (known?.boot === attachment.boot) {
    if (known.standInFor === undefined) return volume;
    // Now there is a consumer as well.
    const { standInFor: _, ...own } = known;
    return { ...volume, attachments: volume.attachments.map((a) => (a === known ? own : a)) };
  }
  if (known === undefined && volume.attachments.length >= maxAttachments) {
    throw new HyperscaleError(
      'not-allowed',
      `volume ${volume.name} is attached on ${volume.attachments.length} hosts, which is the most`,
      { hint: 'Detach it somewhere first: hscli volume detach NAME --node HOST' },
    );
  }
  return {
    ...volume,
    attachments: [...volume.attachments.filter((a) => a.host !== attachment.host), attachment],
  };
}

/** Revokes a host's attachment; the head's node then removes the export. Absent is fine. */
export function detach(volume: Volume, host: NodeName): Volume {
  if (attachmentOn(volume, host) === undefined) return volume;
  return { ...volume, attachments: withoutHosts(volume.attachments, [host]) };
}
