/** What people change of a volume while it is in use: its name, its policy, what they note of it. */
import { HyperscaleError } from '../errors.ts';
import { isNameless } from './delete.ts';
import { checkVolumeName } from './names.ts';
import { refuse } from './refuse.ts';
import type { Policy, Volume } from './types.ts';

export const maxMetadataKeys = 64;
export const maxMetadataKeyLength = 255;
export const maxMetadataValueLength = 1024;
/** All keys and values together; the record is read by every node. */
export const maxMetadataBytes = 16 * 1024;

/** Null takes an entry away. */
export type MetadataChange = Record<string, string | null>;

/**
 * Another policy: copies are made or dropped in the background, the write set follows with the next
 * epoch. Limits that the volume has of its own stay.
 * @throws `conflict` when it is being deleted.
 */
export function retype(volume: Volume, policy: Policy): Volume {
  if (JSON.stringify(volume.policy) === JSON.stringify(policy)) return volume;
  if (isNameless(volume)) refuse(volume, 'retype', 'it is being deleted');
  return { ...volume, policy };
}

/** @throws `bad-input` for a name that cannot be, `conflict` when it is being deleted */
export function rename(volume: Volume, name: string): Volume {
  if (volume.name === name) return volume;
  checkVolumeName(name);
  if (isNameless(volume)) refuse(volume, 'rename', 'it is being deleted');
  return { ...volume, name };
}

/** @throws `bad-input` when it would be too much, `conflict` when the volume is being deleted */
export function changeMetadata(volume: Volume, change: MetadataChange): Volume {
  if (isNameless(volume)) refuse(volume, 'change of metadata', 'it is being deleted');
  const kept = { ...volume.metadata, ...change };
  const entries = Object.entries(kept).filter((e): e is [string, string] => e[1] !== null);
  for (const [key, value] of entries) {
    if (key.length === 0 || key.length > maxMetadataKeyLength) {
      tooMuch(`key ${JSON.stringify(key.slice(0, 40))} has ${key.length} characters`);
    }
    if (value.length > maxMetadataValueLength) {
      tooMuch(`the value of ${JSON.stringify(key)} has ${value.length} characters`);
    }
  }
  const metadata = Object.fromEntries(entries);
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (entries.length > maxMetadataKeys) tooMuch(`${entries.length} entries are too many`);
  if (bytes > maxMetadataBytes) tooMuch(`${bytes} bytes are too many`);
  if (JSON.stringify(metadata) === JSON.stringify(volume.metadata ?? {})) return volume;
  const { metadata: _, ...rest } = volume;
  return entries.length === 0 ? rest : { ...rest, metadata };
}

function tooMuch(what: string): never {
  throw new HyperscaleError('bad-input', `metadata: ${what}`, {
    hint: `At most ${maxMetadataKeys} entries, keys of 1 to ${maxMetadataKeyLength} and values of up to ${maxMetadataValueLength} characters, ${maxMetadataBytes} bytes in all.`,
  });
}
