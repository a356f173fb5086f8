/** Whether what is in etcd are the metadata that this node knows, as far as it knows them. */
import { HyperscaleError } from '../errors.ts';
import { laterRevision } from './record-cache.ts';

/** The identity of the cluster's metadata and the highest revision seen of it. */
export type StoreSeen = {
  clusterId: string;
  revision: string;
  /** It was found to be set back: it is not believed again, however far it gets by itself. */
  setBack?: true;
};

/** The later one of two revisions. */
export function later(a: string, b: string): string {
  return laterRevision(b, a) ? b : a;
}

/**
 * An etcd that was emptied, replaced or set back to an old copy must not be believed: what it
 * lacks would look deleted. We stay unconnected, with the caches as they were.
 * @returns why it is not believed.
 */
export function otherStore(
  wantedId: string,
  foundId: string | undefined,
  found: { seen: string; setBack: boolean },
): HyperscaleError | undefined {
  const { seen } = found;
  const setBack = foundId === wantedId && found.setBack;
  const wrong =
    foundId !== wantedId
      ? `are another cluster's (id ${foundId ?? 'none'}, ours is ${wantedId})`
      : setBack
        ? `were set back (they had got to revision ${seen})`
        : undefined;
  if (wrong === undefined) return undefined;
  return new HyperscaleError('store-unavailable', `the metadata in etcd ${wrong}`, {
    hint: 'Point this node at the right etcd, or see docs/recovery.md on a lost etcd.',
    values: { wantedId, foundId, seen, setBack },
  });
}
