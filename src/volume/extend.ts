/**
 * Growth of a volume (protocol review, rule 14). Layers keep the size that they were made with: of an
 * open volume a larger layer is put on top by a roll, whose prepare carries the size and whose confirm
 * reports it; of an idle one only the record changes, and its next layer is made that large. What an
 * older, smaller layer does not have reads as zeros. A volume never becomes smaller.
 */
import { HyperscaleError } from '../errors.ts';
import { calledIn } from './marks.ts';
import { refuse } from './refuse.ts';
import type { Volume } from './types.ts';

/**
 * Whether the volume has to grow to have this size; false when it has it already.
 * @throws `bad-input` when it is larger, `conflict` when it is being deleted, `not-allowed` for what
 *   nobody writes.
 */
export function mustGrow(volume: Volume, sizeBytes: number): boolean {
  if (volume.tail.phase === 'deleting') refuse(volume, 'extend', 'it is being deleted');
  if (volume.role !== undefined) {
    throw new HyperscaleError('not-allowed', `${calledIn(volume)} never changes`, {
      hint: `Make a larger volume from it: hscli volume clone ${calledIn(volume)} NAME --size SIZE`,
      values: { volume: volume.id },
    });
  }
  if (sizeBytes < volume.sizeBytes) {
    throw new HyperscaleError(
      'bad-input',
      `volume ${volume.name} has ${volume.sizeBytes} bytes and cannot become smaller: ${sizeBytes} bytes were asked for`,
      {
        hint: 'Volumes only grow. To have a smaller one, create it and copy the data.',
        values: { volume: volume.id, sizeBytes: volume.sizeBytes, wanted: sizeBytes },
      },
    );
  }
  return sizeBytes > volume.sizeBytes;
}

/**
 * Enlarges a volume that nobody writes; its next epoch opens with the new size.
 * @throws `conflict` when it is not idle, and what `mustGrow` throws.
 */
export function extendIdle(volume: Volume, sizeBytes: number): Volume {
  if (!mustGrow(volume, sizeBytes)) return volume;
  if (volume.tail.phase !== 'idle') refuse(volume, 'extend', `it is ${volume.tail.phase}`);
  return { ...volume, sizeBytes };
}

/**
 * The size of the layer that is prepared next: what was asked for now, or by a roll that was prepared
 * and is replaced. @throws as `mustGrow`
 */
export function nextSize(volume: Volume, asked: number | undefined): number {
  const { tail } = volume;
  const prepared = tail.phase === 'opening' ? tail.next.sizeBytes : volume.sizeBytes;
  if (asked !== undefined) mustGrow(volume, asked);
  return Math.max(volume.sizeBytes, prepared, asked ?? 0);
}
