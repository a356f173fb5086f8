import type { VolumeAnswer } from '../api/schemas.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Call } from './call.ts';
import { notSupported, unlessAbsent, volumePath } from './daemon.ts';
import { badParameter } from './err-codes.ts';
import { sizeField, textField } from './fields.ts';
import { snapshotIdOf, volumeNameOf } from './names.ts';

/** Snapshots and clones. A snapshot has the id that OpenStack gave it. */

/** The mark of a snapshot that the storage made by itself at the end of an episode. */
const episodeType = '0';

/** Makes a snapshot; again it is the same one. */
export async function createSnapshot({ daemon, body }: Call): Promise<unknown> {
  const volume = volumeNameOf(textField(body, 'vdisk_id_str'));
  const id = snapshotIdOf(textField(body, 'snapshot_id_str'));
  const wanted = { id, name: `snapshot-${id}` };
  await daemon.askOfKnown('POST', `${volumePath(volume)}/snapshots`, wanted);
  return {};
}

/** Deletes a snapshot; one that is not there is no error. */
export async function deleteSnapshot({ daemon, body }: Call): Promise<unknown> {
  const volume = volumeNameOf(textField(body, 'volume_guid'));
  const id = snapshotIdOf(textField(body, 'snapshot_id'));
  await unlessAbsent(daemon.ask('DELETE', `${volumePath(volume)}/snapshots/${id}`));
  return {};
}

/** Makes a volume of what another one holds now. */
export function cloneVolume({ daemon, body }: Call): Promise<unknown> {
  const volume = volumeNameOf(textField(body, 'parent_volume_guid'));
  return clone(daemon, body, { volume });
}

/** Makes a volume of a snapshot. */
export function cloneSnapshot({ daemon, body }: Call): Promise<unknown> {
  const volume = volumeNameOf(textField(body, 'parent_volume_guid'));
  const snapshot = snapshotIdOf(textField(body, 'version_name'));
  return clone(daemon, body, { volume, snapshot });
}

/** With the policy of its source: drivers send the weakest one for every clone. */
async function clone(
  daemon: Call['daemon'],
  body: Call['body'],
  source: { volume: string; snapshot?: string },
): Promise<unknown> {
  const name = volumeNameOf(textField(body, 'volume_guid'));
  const sizeBytes = sizeField(body, 'volume_raw_size');
  try {
    await daemon.askOfKnown('POST', '/v1/volumes', { name, sizeBytes, source });
  } catch (error) {
    if (!isHyperscaleError(error, 'exists')) throw error;
    // An earlier call may have made it, of which nobody saw the end.
    const there = await daemon.askOfKnown<VolumeAnswer>('GET', volumePath(name));
    if (there.parent !== source.volume || there.sizeBytes !== sizeBytes) throw error;
  }
  return {};
}

/**
 * Gives a snapshot that the storage made at the end of an episode the id that OpenStack has for it.
 * No volume has such ones, so none has the cookie: `episodicSnap` never says that there is one.
 */
export async function recordEpisode({ daemon, body }: Call): Promise<unknown> {
  const volume = volumeNameOf(textField(body, 'volume_guid'));
  snapshotIdOf(textField(body, 'snapshot_id'));
  const cookie = textField(body, 'snapshot_cookie');
  await daemon.askOfKnown('GET', volumePath(volume));
  throw new HyperscaleError(
    'not-found',
    `volume ${volume} has no snapshot of an episode with the cookie ${JSON.stringify(cookie)}`,
    { hint: 'Make a snapshot without TYPE and SNAPSHOT-COOKIE in its metadata.' },
  );
}

/**
 * Asked before every snapshot: does the storage have it already, because it made it at the end of
 * an episode? No volume has such ones yet; a snapshot that claims to be one is refused, because a
 * yes would make OpenStack record a snapshot that nobody holds.
 */
export async function episodicSnap({ body }: Call): Promise<unknown> {
  const { metadata = {} } = body;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new HyperscaleError('bad-input', '"metadata" is not a JSON object', {
      values: { errCode: badParameter },
    });
  }
  if (marksEpisode(new Map(Object.entries(metadata)))) {
    throw notSupported("an episode's snapshot", 'Make one without TYPE in its metadata.');
  }
  return { update: false };
}

/** True when the metadata say that the storage made the snapshot at the end of an episode. */
export function marksEpisode(metadata: ReadonlyMap<string, unknown>): boolean {
  const type = metadata.get('TYPE');
  return type === episodeType || type === Number(episodeType) || metadata.has('SNAPSHOT-COOKIE');
}
