/**
 * How large one volume's record may grow, and what happens then (docs/design/bounds.md). A record
 * at its bounds stays far below what etcd takes in one value (1.5 MiB).
 */
import { HyperscaleError } from '../errors.ts';
import type { RollReason, Volume } from './types.ts';

/** Nothing is opened on a longer chain: it waits for a merge. */
export const maxSealedLayers = 64;
/** From here on people's seals and extensions are refused, so that evictions find room. */
export const maxLayersForSeal = 32;
/** No new layer is prepared while so many wait to be deleted by their holders. */
export const maxGarbage = 512;
/** Hosts on which one volume is attached at a time. */
export const maxAttachments = 64;

/** @throws `unavailable` when the record has no room for another layer. */
export function assertRoomForLayer(volume: Volume, reason: RollReason): void {
  const layers = volume.chain.length;
  const asked = reason === 'seal' || reason === 'extend';
  const limit = asked ? maxLayersForSeal : maxSealedLayers;
  if (layers >= limit) {
    throw new HyperscaleError(
      'unavailable',
      `volume ${volume.name} has ${layers} sealed layers, and a new one (${reason}) is begun only below ${limit}`,
      {
        hint: 'They are merged in the background: see hscli cluster status. A merge needs one node that holds them all.',
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
