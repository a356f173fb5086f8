import { HyperscaleError } from '../errors.ts';
import type { LayerKey } from './engine.ts';

/**
 * Ids become paths, socket names and QEMU object names, so every one is checked at the door of the
 * engine, wherever it came from.
 */
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const hex32 = /^[0-9a-f]{32}$/;
const session = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

/** @throws `bad-input` unless it is a UUID in lower case */
export function checkVolumeId(id: string): string {
  if (!uuid.test(id)) throw badId('volume', id, 'a UUID in lower case');
  return id;
}

/** @throws `bad-input` unless it is 32 hexadecimal digits in lower case */
export function checkLayerId(id: string): string {
  if (!hex32.test(id)) throw badId('layer', id, '32 hexadecimal digits in lower case');
  return id;
}

/** @throws `bad-input` unless it is 1 to 63 letters, digits, `_` or `-` */
export function checkSessionId(id: string): string {
  if (!session.test(id)) throw badId('session', id, 'at most 63 letters, digits, _ or -');
  return id;
}

/** Checks all parts of a layer's name. */
export function checkLayerKey(key: LayerKey): LayerKey {
  checkVolumeId(key.volume);
  checkLayerId(key.layer);
  if (!Number.isSafeInteger(key.epoch) || key.epoch < 0) {
    throw badId('epoch', String(key.epoch), 'a whole number from 0');
  }
  return key;
}

export const isVolumeId = (text: string): boolean => uuid.test(text);
export const isLayerId = (text: string): boolean => hex32.test(text);

function badId(kind: string, id: string, expected: string): HyperscaleError {
  return new HyperscaleError('bad-input', `${JSON.stringify(id)} is not a ${kind} id: ${expected}`);
}
