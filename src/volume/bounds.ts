/**
 * How large one volume's record may grow, and what happens then (docs/design/bounds.md). A record
 * at its bounds stays far below what etcd takes in one value (1.5 MiB).
 */
import { HyperscaleError } from '../errors.ts';
import { snapshotsOf } from './marks.ts';
import type { RollReason, Volume } from './types.ts';

/** Nothing is opened on a longer chain: it waits for a merge. */
export const maxSealedLayers = 64;
/** From here on people's seals and extensions are refused, so that evictions find room. */
export const maxLayersForSeal = 32;
/** No new layer is prepared while so many wait to be deleted by their holders. */
export const maxGarbage = 512;
/** Hosts on which one volume is attached at a time. */
export const maxAttachments = 64;
/** Snapshots of one volume; more than its layers, since several can end at the same layer. */
export const maxSnapshots = 256;
/** Volumes whose snapshots show one instant: the writes of all of them are held. */
export const maxGroup = 64;
/** Records that go on from one record. */
export const maxClones = 4096;

/** @throws `unavailable` when the record has no room for another layer. */
export function assertRoomForLayer(volume: Volume, reason: RollReason): void {
  const layers = volume.chain.length + (volume.parent?.layers ?? 0);
  const asked = reason === 'seal' || reason === 'extend';
  const limit = asked ? maxLayersForSeal : maxSealedLayers;
  if (layers >= limit) {
    throw new HyperscaleError(
      'unavailable',
      `volume ${volume.name} has ${layers} sealed layers, and a new one (${reason}) is begun only below ${limit}`,
      {
        hint: hintFor(volume),
        values: { volume: volume.id, layers, limit },
      },
    );
  }
  if (volume.garbage.length >= maxGarbage) {
    const holders = [...new Set(volume.garbage.flatMap((g) => g.holders.map((h) => h.node)))];
    throw new HyperscaleError(
      'unavailable',
      `${volume.garbage.length} old layers of volume ${volume.name} wait to be deleted on ${holders.join(', ')}`,
      { hint: 'Bring these nodes back.', values: { volume: volume.id, holders } },
    );
  }
}

function hintFor(volume: Volume): string {
  if (snapshotsOf(volume).length > 0) {
    return `Each snapshot keeps a layer: delete some (hscli snapshot list ${volume.name}).`;
  }
  return volume.parent === undefined
    ? 'They are merged in the background: see hscli cluster status. A merge needs one node that holds them all.'
    : `It is a clone and shows ${volume.parent.layers} layers of others: hscli volume flatten ${volume.name}`;
}
