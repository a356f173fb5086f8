import { HyperscaleError } from '../errors.ts';
import type { Call, Operation } from './call.ts';
import { notSupported } from './daemon.ts';
import { badParameter } from './err-codes.ts';

/** Snapshots and clones: what is said of them until volumes have them. */

/** The mark of a snapshot that the storage made by itself at the end of an episode. */
const episodeType = '0';

/** An operation that is refused until volumes have snapshots. */
export function later(what: string): Operation {
  return async () => {
    throw notSupported(what, 'Volumes have no snapshots and no clones yet; nothing was changed.');
  };
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
