import { HyperscaleError } from '../errors.ts';
import { checkName, looksLikeUuid } from './names.ts';

/** Ids that are made here, and those that others give: a UUID without or with its dashes. */
const plainId = /^[0-9a-f]{32}$/i;

/**
 * Checks a name for a new snapshot: as the name of a volume.
 * @throws `bad-input` also when it looks like an id, since a snapshot can be addressed by either.
 */
export function checkSnapshotName(name: string): void {
  checkName(name, 'snapshot');
  if (!plainId.test(name)) return;
  throw new HyperscaleError('bad-input', `name ${JSON.stringify(name)} looks like a snapshot id`, {
    hint: 'Choose a name that is not 32 hex digits; snapshots are addressed by name or by id.',
    values: { field: 'name', value: name },
  });
}

/** Checks an id that a caller chose. @throws `bad-input` */
export function checkSnapshotId(id: string): void {
  if (plainId.test(id) || looksLikeUuid(id)) return;
  const text = JSON.stringify(id.length > 100 ? `${id.slice(0, 100)}…` : id);
  throw new HyperscaleError('bad-input', `id ${text} is not a valid snapshot id`, {
    hint: 'An id is a UUID, or 32 hex digits.',
    values: { field: 'id' },
  });
}

/** A name for a snapshot that was given none: when it was made, in UTC, to the millisecond. */
export function newSnapshotName(now: Date): string {
  const [date = '', time = ''] = now.toISOString().replace('Z', '').split('T');
  return `snap-${date.replaceAll('-', '')}-${time.replaceAll(':', '')}`;
}
