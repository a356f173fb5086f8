/**
 * The metadata store on etcd (3.4 or later). Records are JSON under one prefix: `volumes/ID`,
 * `names/NAME` (the id, so that a name is taken once), `nodes/NAME`, `leases/NAME` (gone with the
 * node's etcd lease) and `cluster-id`.
 *
 * Everything is listed at one revision and followed by a watch from the next one. When the
 * connection is lost, everything is listed again: no watch is trusted to have survived.
 */

import { randomUUID } from 'node:crypto';
import { errorText, HyperscaleError } from '../errors.ts';
import { createConnection } from './etcd-connection.ts';
import { listAll, prefixEnd } from './etcd-listing.ts';
import type { EtcdSession } from './etcd-session.ts';
import { createTransactions } from './etcd-transactions.ts';
import type { StoreLog } from './log.ts';
import { createNodeLease } from './node-lease.ts';
import { registerNode } from './node-registration.ts';
import { createRecordCache, laterRevision, storedValue } from './record-cache.ts';
import { storeKeys } from './records.ts';
import type { Store, StoreChange } from './store.ts';

export type EtcdStoreOptions = {
  /** For example `http://10.0.0.1:2379`; tried in turn. */
  endpoints: string[];
  /** Where our keys are; ends in a slash. */
  prefix?: string;
  log: StoreLog;
  /** How long a caller waits for etcd, milliseconds. */
  requestTimeoutMs?: number;
  /** Ends the wait for etcd at the start. */
  signal?: AbortSignal;
  /** What this node has seen of the store in earlier lives; another or older one is refused. */
  seen?: StoreSeen | null;
};

/** The identity of the cluster's metadata and the highest revision seen of it. */
export type StoreSeen = { clusterId: string; revision: string };

/** The store on etcd, with what only etcd has. */
export type EtcdStore = Store & {
  /** The random identity of this cluster's metadata, made by whoever came first. */
  clusterId(): string;
  /** The highest revision seen, to recognise an etcd that was set back. */
  revision(): string;
};

/**
 * Connects to etcd, waiting for it as long as it takes, and reads everything.
 * @throws HyperscaleError `cancelled` when `signal` fires first.
 */
export async function createEtcdStore(options: EtcdStoreOptions): Promise<EtcdStore> {
  const { endpoints, prefix = '/hyperscale/', log, requestTimeoutMs = 10_000, signal } = options;
  checkOptions(endpoints, prefix);
  const keys = storeKeys(prefix);
  const changeListeners = new Set<(change: StoreChange) => void>();
  const connectionListeners = new Set<(connected: boolean) => void>();
  const cache = createRecordCache(keys, log, (change) => tell(changeListeners, change));
  const loaded = Promise.withResolvers<void>();
  const seen = options.seen ?? null;
  let clusterId: string | undefined = seen?.clusterId;

  /** One listener's error is not the others', nor the watch's. */
  function tell<T>(listeners: Set<(news: T) => void>, news: T): void {
    for (const listener of [...listeners]) {
      try {
        listener(news);
      } catch (error) {
        log.error({ error }, `a listener of the store failed: ${errorText(error)}`);
      }
    }
  }

  /** Brings the cache up to date on a new session and follows from there. */
  async function prepare(session: EtcdSession): Promise<void> {
    const wantedId = clusterId ?? (await claimClusterId(session, keys.clusterId));
    const { entries, revision } = await listAll(session, prefix);
    refuseOtherStore(
      wantedId,
      entries.get(keys.clusterId)?.text,
      later(cache.revision(), seen?.revision ?? '0'),
      revision,
    );
    clusterId = wantedId;
    cache.replaceAll(entries, revision);
    const start = String(BigInt(revision) + 1n);
    const key = Buffer.from(prefix);
    const watch = { key, range_end: prefixEnd(prefix), start_revision: start };
    await session.follow(watch, ({ events }) => {
      for (const { type, kv } of events) {
        const name = kv.key.toString('utf8');
        if (type === 'Delete') cache.remove(name, kv.mod_revision);
        else cache.put(name, storedValue(kv));
      }
      const last = events.at(-1);
      // A bare progress report may name a revision whose events are still on their way.
      if (last !== undefined) cache.advance(last.kv.mod_revision);
    });
  }

  const connection = createConnection({
    endpoints,
    callTimeoutMs: Math.min(2000, Math.ceil(requestTimeoutMs / 2)),
    log,
    prepare,
    changed: (session) => {
      if (session !== undefined) {
        lease.start(session);
        loaded.resolve();
      }
      tell(connectionListeners, session !== undefined);
    },
  });
  const context = { connection, keys, cache, log, requestTimeoutMs };
  const lease = createNodeLease(context);
  const transactions = createTransactions(context);

  await untilLoaded(loaded.promise, signal, () => connection.close());

  return {
    volumes: cache.volumes,
    volume: cache.volume,
    volumeNamed: cache.volumeNamed,
    nodes: cache.nodes,
    node: cache.node,
    connected: () => connection.session() !== undefined,
    ...transactions,
    onChange: (listener) => subscribe(changeListeners, listener),
    onConnection: (listener) => subscribe(connectionListeners, listener),
    registerNode: (record) => registerNode(context, record),
    async keepLease(node) {
      await lease.set(node);
      return { update: lease.set };
    },
    leaseConfirmedAt: lease.confirmedAt,
    clusterId: () => clusterId ?? '',
    revision: cache.revision,
    close: () => connection.close(),
  };
}

function checkOptions(endpoints: string[], prefix: string): void {
  for (const endpoint of endpoints) {
    if (!/^https?:\/\/[^/\s]+$/.test(endpoint)) {
      throw new HyperscaleError('bad-input', `not an etcd endpoint: ${JSON.stringify(endpoint)}`, {
        hint: 'write it as http://ADDRESS:PORT',
      });
    }
  }
  if (endpoints.length === 0) throw new HyperscaleError('bad-input', 'no etcd endpoint is given');
  if (!/^\/.*\/$/.test(prefix)) {
    throw new HyperscaleError('bad-input', `not a key prefix: ${JSON.stringify(prefix)}`, {
      hint: 'it begins and ends with a slash',
    });
  }
}

/** The id in the store; a new one is put there when there is none. */
async function claimClusterId(session: EtcdSession, key: string): Promise<string> {
  const name = Buffer.from(key);
  const mine = randomUUID();
  const answer = await session.txn({
    compare: [{ key: name, target: 'Create', result: 'Equal', create_revision: '0' }],
    success: [{ request_put: { key: name, value: Buffer.from(mine) } }],
    failure: [{ request_range: { key: name } }],
  });
  if (answer.succeeded) return mine;
  return answer.responses[0]?.response_range?.kvs[0]?.value.toString('utf8') ?? mine;
}

/**
 * An etcd that was emptied, replaced or set back to an old copy must not be believed: what it
 * lacks would look deleted. We stay unconnected, with the caches as they were.
 */
function later(a: string, b: string): string {
  return laterRevision(b, a) ? b : a;
}

function refuseOtherStore(
  wantedId: string,
  foundId: string | undefined,
  seen: string,
  revision: string,
): void {
  const wrong =
    foundId !== wantedId
      ? `is another cluster's (id ${foundId ?? 'none'}, ours is ${wantedId})`
      : laterRevision(seen, revision)
        ? `was set back (revision ${revision}, seen ${seen})`
        : undefined;
  if (wrong === undefined) return;
  throw new HyperscaleError('store-unavailable', `the metadata in etcd ${wrong}`, {
    hint: 'Point this node at the right etcd, or see docs/operations.md on a lost etcd.',
    values: { wantedId, foundId, seen, revision },
  });
}

async function untilLoaded(
  loaded: Promise<void>,
  signal: AbortSignal | undefined,
  close: () => Promise<void>,
): Promise<void> {
  if (signal === undefined) return loaded;
  const aborted = Promise.withResolvers<'aborted'>();
  const abort = () => aborted.resolve('aborted');
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  const end = await Promise.race([loaded, aborted.promise]);
  signal.removeEventListener('abort', abort);
  if (end !== 'aborted') return;
  await close();
  throw new HyperscaleError('cancelled', 'cancelled while waiting for etcd');
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
