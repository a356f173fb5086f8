/**
 * Views: what a volume, an image or a snapshot holds, shown to one host read-only. A view is a clone
 * that nobody writes to and that is born attached; it goes with its attachment.
 */

import { consumersOf } from './attachments.ts';
import type { ClonePoint } from './clone.ts';
import { createClone } from './clone.ts';
import { markDeleted } from './delete.ts';
import { policyNamed } from './policy.ts';
import { writerOf } from './queries.ts';
import type {
  Attachment,
  NodeName,
  NodeView,
  SnapshotId,
  View,
  Volume,
  VolumeId,
} from './types.ts';

/** A view's record, attached; its host opens it at once. */
export function createView(
  point: ClonePoint,
  request: {
    id: VolumeId;
    name: string;
    view: View;
    attachment: Attachment;
    createdAt: string;
  },
): Volume {
  const { view, attachment, ...rest } = request;
  // Nothing is written to it, so it needs no second copy.
  const policy = policyNamed('Bronze');
  const clone = createClone(point, { ...rest, sizeBytes: point.sizeBytes, policy });
  return { ...clone, view, attachments: [attachment] };
}

/** The host that a view is for; undefined when it is over. */
export function viewHost(volume: Volume): NodeName | undefined {
  return volume.view === undefined ? undefined : consumersOf(volume)[0]?.host;
}

/** Views of a snapshot on a host. Several only when it was attached while it was renamed. */
export function isViewOf(
  volume: Volume,
  of: { volume: VolumeId; snapshot: SnapshotId; host?: NodeName },
): boolean {
  const { view, tail } = volume;
  if (view?.of !== of.volume || view.snapshot?.id !== of.snapshot) return false;
  if (tail.phase === 'deleting') return false;
  return of.host === undefined || viewHost(volume) === of.host;
}

/**
 * True when nobody can read it any more: it was detached, or its host is gone for good, has been down
 * for too long, or is up in another boot, in which no consumer of it lives.
 */
export function isOver(
  volume: Volume,
  nodes: readonly NodeView[],
  givenUp: ReadonlySet<NodeName>,
): boolean {
  if (volume.view === undefined || volume.tail.phase === 'deleting') return false;
  const [attachment] = consumersOf(volume);
  if (attachment === undefined) {
    // Where it was served it is closed in good order first.
    const writer = writerOf(volume);
    return !nodes.some((n) => n.name === writer && n.lease !== null);
  }
  const host = nodes.find((n) => n.name === attachment.host);
  if (host === undefined || givenUp.has(host.name)) return true;
  return host.lease !== null && host.lease.boot !== attachment.boot;
}

/** The one node that clears it away: its host while that lives, else the first live one. */
export function viewKeeper(volume: Volume, nodes: readonly NodeView[]): NodeName | undefined {
  const live = nodes.filter((n) => n.lease !== null).map((n) => n.name);
  const writer = volume.tail.phase === 'open' ? volume.tail.layer.writer : viewHost(volume);
  return live.find((name) => name === writer) ?? live.sort()[0];
}

/** Ends a view, whoever still reads it: nothing in it is anybody's. */
export function endView(volume: Volume): Volume {
  if (volume.view === undefined || volume.tail.phase === 'deleting') return volume;
  return markDeleted({ ...volume, attachments: [] });
}
