import { HyperscaleError } from '../errors.ts';
import { checkVolumeName, looksLikeUuid, namePattern } from '../volume/names.ts';

/**
 * OpenStack calls one volume by three names: `{uuid}` when it creates it, `volume-uuid` when it
 * connects it or deletes it, and sometimes the plain `uuid`. Ours is always `volume-uuid`.
 */

const prefix = 'volume-';
const uuidSomewhere = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;

/**
 * The name of our volume that a driver means; one without a UUID means itself.
 * @throws `bad-input` when it could be no volume's name, or hides a UUID in another form: taken as
 *   it is, a delete would find nothing, succeed, and leave the volume behind.
 */
export function volumeNameOf(given: string): string {
  const bare = given.startsWith('{') && given.endsWith('}') ? given.slice(1, -1) : given;
  const uuid = bare.startsWith(prefix) ? bare.slice(prefix.length) : bare;
  if (looksLikeUuid(uuid)) return `${prefix}${uuid.toLowerCase()}`;
  if (uuidSomewhere.test(bare)) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(given)} is not a known form of name`, {
      hint: 'Known are {UUID}, volume-UUID and UUID: leave volume_name_template of Cinder at volume-%s.',
      values: { name: given },
    });
  }
  checkVolumeName(bare);
  return bare;
}

/**
 * The id of our snapshot that a driver means by `{UUID}`, `snapshot-UUID` or `UUID`.
 * @throws `bad-input` when it is something else.
 */
export function snapshotIdOf(given: string): string {
  const bare = given.startsWith('{') && given.endsWith('}') ? given.slice(1, -1) : given;
  const uuid = bare.startsWith('snapshot-') ? bare.slice('snapshot-'.length) : bare;
  if (looksLikeUuid(uuid)) return uuid.toLowerCase();
  throw new HyperscaleError('bad-input', `${JSON.stringify(given)} is no id of a snapshot`, {
    hint: 'Known are {UUID}, snapshot-UUID and UUID.',
    values: { snapshot: given },
  });
}

/**
 * The name below /dev at which the connector expects the device of a volume: characters 1 to 31
 * of the name that it was given (os-brick, `HyperScaleConnector.connect_volume`).
 * @throws `bad-input` when that could be no name of a device.
 */
export function deviceNameOf(given: string): string {
  const name = given.slice(1, 32);
  if (!new RegExp(namePattern).test(name)) {
    throw new HyperscaleError(
      'bad-input',
      `the device of ${JSON.stringify(given)} would be ${JSON.stringify(name)}, which is no name`,
      { hint: 'Its characters 1 to 31 must be letters, digits, ".", "_" and "-".' },
    );
  }
  return name;
}
