import { HyperscaleError } from '../errors.ts';
import { deviceNameOf, volumeNameOf } from '../legacy/names.ts';
import { checkVolumeName, looksLikeUuid } from '../volume/names.ts';

/**
 * How a volume is to be connected: by the attachment's NBD socket, by a block device of the host, or
 * as the drivers of the original product ask for it (a block device whose path they compute).
 */
export type Access =
  | { by: 'network' }
  | { by: 'block'; device: string }
  | { by: 'legacy'; device: string; name: string };

export type Wanted = {
  /** Name or id of the volume. */
  volume: string;
  access: Access;
};

/** A JSON object from outside whose fields nobody has checked. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads what os-brick calls connection properties and libvirt drivers the connection's `data`:
 * `{volume, mode?: 'network' | 'block', name?}`, or the original product's `{export, name}`.
 * @throws `bad-input` naming the field that is wrong
 */
export function parseProperties(given: unknown): Wanted {
  const fields = fieldsOf(given, 'the connection data');
  const volume = textField(fields, 'volume');
  const name = textField(fields, 'name');
  const mode = choiceField(fields, 'mode', ['network', 'block']);
  if (volume === undefined) {
    if (name === undefined) {
      throw badField('volume', undefined, 'the name or id of a volume', 'and there is no "name"');
    }
    if (mode === 'network') throw badField('mode', mode, '"block" without a "volume"');
    const device = deviceOf(name);
    return { volume: volumeNameOf(name), access: { by: 'legacy', device, name } };
  }
  if (!looksLikeUuid(volume)) checkVolumeName(volume);
  if (mode !== 'block') return { volume, access: { by: 'network' } };
  const device = name === undefined ? `hyperscale-${volume}` : deviceOf(name);
  return { volume, access: { by: 'block', device } };
}

/**
 * The name below `/dev` that goes with a name of OpenStack. Only names with a UUID have one: cut out
 * of another name, it could be that of a disk of the host.
 */
function deviceOf(name: string): string {
  if (!/^volume-[0-9a-f-]{36}$/.test(volumeNameOf(name))) {
    throw badField('name', name, '{UUID}, volume-UUID or UUID, as OpenStack names volumes');
  }
  return deviceNameOf(name);
}

/** @throws `bad-input` unless it is an object */
export function fieldsOf(given: unknown, what: string): Fields {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) {
    // Without a prototype, so that only what was given is found in it.
    return Object.assign(Object.create(null), given);
  }
  throw new HyperscaleError('bad-input', `${what} ${shown(given)} is not an object`, {
    hint: 'docs/libvirt.md shows one.',
  });
}

/** A text of 1 to 1024 characters; undefined when it is absent or null. */
export function textField(fields: Fields, field: string): string | undefined {
  const value = fields[field] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== '' && value.length <= 1024) return value;
  throw badField(field, value, 'a text of 1 to 1024 characters');
}

/** One of some words; undefined when it is absent or null. */
export function choiceField<T extends string>(
  fields: Fields,
  field: string,
  choices: readonly T[],
): T | undefined {
  const value = fields[field] ?? undefined;
  const choice = choices.find((c) => c === value);
  if (value === undefined || choice !== undefined) return choice;
  throw badField(field, value, choices.map((c) => `"${c}"`).join(' or '));
}

/** True or false; undefined when it is absent or null. */
export function flagField(fields: Fields, field: string): boolean | undefined {
  const value = fields[field] ?? undefined;
  if (value === undefined || typeof value === 'boolean') return value;
  throw badField(field, value, 'true or false');
}

export function badField(
  field: string,
  value: unknown,
  expected: string,
  also = '',
): HyperscaleError {
  const is = value === undefined ? 'is missing' : `is ${shown(value)}`;
  return new HyperscaleError(
    'bad-input',
    `"${field}" of the connection ${is}, not ${expected}${also === '' ? '' : `; ${also}`}`,
    { hint: 'docs/libvirt.md shows what a connection holds.', values: { field } },
  );
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
