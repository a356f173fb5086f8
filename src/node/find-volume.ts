import { HyperscaleError } from '../errors.ts';
import type { Store, Versioned } from '../store/store.ts';
import type { Volume } from '../volume/types.ts';

/** A record by its name or id, as the cache has it. @throws `not-found` */
export function findVolume(store: Store, idOrName: string): Versioned<Volume> {
  const found = store.volumeNamed(idOrName) ?? store.volume(idOrName);
  // What a host is shown is no volume: it is detached where it was attached.
  if (found !== undefined && found.value.view === undefined) return found;
  throw new HyperscaleError('not-found', `there is no volume ${JSON.stringify(idOrName)}`, {
    hint: 'List them with: hscli volume list',
  });
}
