/**
 * The metadata in etcd as a recovery sees them: read as they are, whether they are believed or not,
 * and written under an identity that is claimed first. Whoever claims last goes on; all that an
 * earlier claimer still tries fails.
 */
import type { ICompare, IRequestOp } from 'etcd3';
import { errorText, HyperscaleError } from '../errors.ts';
import { isNameless } from '../volume/delete.ts';
import type { NodeRecord, Volume } from '../volume/types.ts';
import { storeUnavailable } from './etcd-errors.ts';
import { listAll } from './etcd-listing.ts';
import { type EtcdSession, openSession } from './etcd-session.ts';
import { parseNode, parseRetired, parseVolume, storeKeys } from './records.ts';
import type { RetiredPool } from './retirement.ts';
import type { Versioned } from './store.ts';

const callTimeoutMs = 5_000;

/** Everything in the store that a recovery looks at. */
export type StoreContent = {
  /** Null when there is none: the store was never used, or emptied. */
  clusterId: string | null;
  revision: string;
  volumes: Versioned<Volume>[];
  nodes: NodeRecord[];
  retired: RetiredPool[];
  /** Records that cannot be read, sentence by sentence. */
  damaged: string[];
  /** Revisions of the keys under `volumes/`, also of those that cannot be read. */
  volumeRevisions: ReadonlyMap<string, string>;
};

export type RecoveryStore = Awaited<ReturnType<typeof openRecoveryStore>>;

/** Connects to the first endpoint that answers. @throws `store-unavailable` when none does. */
export async function openRecoveryStore(endpoints: readonly string[], prefix = '/hyperscale/') {
  const keys = storeKeys(prefix);
  const session = await firstThatAnswers(endpoints, prefix);
  const own = (clusterId: string): ICompare =>
    ({
      key: Buffer.from(keys.clusterId),
      target: 'Value',
      result: 'Equal',
      value: Buffer.from(clusterId),
    }) as ICompare;
  const at = (key: string, revision: string): ICompare =>
    ({
      key: Buffer.from(key),
      target: 'Mod',
      result: 'Equal',
      mod_revision: revision,
    }) as ICompare;
  const put = (key: string, value: string): IRequestOp => ({
    request_put: { key: Buffer.from(key), value: Buffer.from(value) },
  });
  const erase = (key: string): IRequestOp => ({
    request_delete_range: { key: Buffer.from(key) },
  });

  /** @returns the revision at which it was done. @throws `conflict` when the store has changed. */
  async function txn(compare: ICompare[], success: IRequestOp[]): Promise<string> {
    const answer = await session.txn({ compare, success, failure: [] }).catch((error: unknown) => {
      throw storeUnavailable('the records cannot be written', 'unknown', error);
    });
    if (answer.succeeded) return answer.header.revision;
    throw new HyperscaleError('conflict', 'the store was changed by somebody else meanwhile', {
      hint: 'Is another recovery under way? Look with: hscli cluster status. Then run this again.',
    });
  }

  return {
    async read(): Promise<StoreContent> {
      const { entries, revision } = await listAll(session, prefix);
      const content: StoreContent & { volumeRevisions: Map<string, string> } = {
        clusterId: entries.get(keys.clusterId)?.text ?? null,
        revision,
        volumes: [],
        nodes: [],
        retired: [],
        damaged: [],
        volumeRevisions: new Map(),
      };
      for (const [key, stored] of entries) {
        const parsed = keys.parse(key);
        try {
          if (parsed?.kind === 'volume') {
            content.volumeRevisions.set(parsed.id, stored.revision);
            const value = parseVolume(key, stored.text);
            content.volumes.push({ value, revision: stored.revision });
          } else if (parsed?.kind === 'node') {
            content.nodes.push(parseNode(key, stored.text));
          } else if (parsed?.kind === 'retired') {
            content.retired.push(parseRetired(key, stored.text));
          }
        } catch (error) {
          content.damaged.push(errorText(error));
        }
      }
      return content;
    },
    /** Gives the metadata a new identity: from here on every daemon stays apart from them. */
    claim: (previous: string | null, clusterId: string) =>
      txn(
        [previous === null ? at(keys.clusterId, '0') : own(previous)],
        [put(keys.clusterId, clusterId)],
      ),
    /** @param revision of the record that it replaces; '0' when there is none. */
    putVolume: (clusterId: string, volume: Volume, revision: string) =>
      txn(
        [own(clusterId), at(keys.volume(volume.id), revision)],
        [
          put(keys.volume(volume.id), JSON.stringify(volume)),
          isNameless(volume)
            ? erase(keys.name(volume.name))
            : put(keys.name(volume.name), volume.id),
        ],
      ),
    removeVolume: (clusterId: string, volume: { id: string; name: string }, revision: string) =>
      txn(
        [own(clusterId), at(keys.volume(volume.id), revision)],
        [erase(keys.volume(volume.id)), erase(keys.name(volume.name))],
      ),
    putNode: (clusterId: string, node: NodeRecord) =>
      txn([own(clusterId)], [put(keys.node(node.name), JSON.stringify(node))]),
    putRetired: (clusterId: string, mark: RetiredPool) =>
      txn([own(clusterId)], [put(keys.retired(mark.pool), JSON.stringify(mark))]),
    close: () => session.close(),
  };
}

async function firstThatAnswers(
  endpoints: readonly string[],
  prefix: string,
): Promise<EtcdSession> {
  let last: unknown;
  for (const endpoint of endpoints) {
    const session = openSession(endpoint, callTimeoutMs);
    try {
      await session.range({ key: Buffer.from(`${prefix}cluster-id`) });
      return session;
    } catch (error) {
      session.close();
      last = error;
    }
  }
  throw storeUnavailable(`etcd does not answer at ${endpoints.join(', ')}`, 'no', last);
}
