import { HyperscaleError } from '../errors.ts';
import type { Volume } from './types.ts';

/** A transition that does not fit the record as it stands; the caller reads again and decides anew. */
export function refuse(volume: Volume, step: string, reason: string): never {
  throw new HyperscaleError('conflict', `${step} of volume ${volume.name}: ${reason}`, {
    values: { volume: volume.id, phase: volume.tail.phase, epoch: volume.epoch },
    hint: 'The record has changed meanwhile; look at it and try again.',
  });
}
