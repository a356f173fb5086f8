/**
 * The metadata store on etcd (3.4 or later). Records are JSON under one prefix: `volumes/ID`,
 * `names/NAME` (the id, so that a name is taken once), `nodes/NAME`, `leases/NAME` (gone with the
 * node's etcd lease), `drains/NAME` and `cluster-id`.
 *
 * Everything is listed at one revision and followed by a watch from the next one. When the
 * connection is lost, everything is listed again: no watch is trusted to have survived.
 */

import { randomUUID } from 'node:crypto';
import { errorText, HyperscaleError } from '../errors.ts';
import { type Clock, realClock } from './clock.ts';
import { createDrains } from './drains.ts';
import { createConnection } from './etcd-connection.ts';
import { listAll, prefixEnd } from './etcd-listing.ts';
import { type EtcdSession, openSession } from './etcd-session.ts';
import { createTransactions } from './etcd-transactions.ts';
import { later, otherStore, type StoreSeen } from './identity.ts';
import type { StoreLog } from './log.ts';
import { createNodeLease } from './node-lease.ts';
import { registerNode } from './node-registration.ts';
import { createRecordCache, laterRevision, storedValue } from './record-cache.ts';
import { storeKeys } from './records.ts';
import { createRetirement, type Retirement } from './retirement.ts';
import type { Store, StoreChange } from './store.ts';
import { createVmRecords, type VmRecords } from './vm-records.ts';

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
  /** Revisions of volumes' records that this node has kept of these metadata. */
  kept?: ReadonlyMap<string, string>;
  /** A simulator passes its own. */
  clock?: Clock;
  /** Opens a connection to an endpoint; a simulator passes its own. */
  open?: (endpoint: string, callTimeoutMs: number) => EtcdSession;
};

/** The store on etcd, with what only etcd has. */
export type EtcdStore = Store & {
  /** The highest revision seen on the connection. */
  revision(): string;
  /** What was seen of the metadata, to recognise them in a later life. Null when nothing was. */
  seen(): StoreSeen | null;
  /** Pools that were taken out for good. */
  readonly retirement: Retirement;
  /** Virtual machines with volumes as disks. */
  readonly vms: VmRecords;
  /** Calls back when the quarantine begins, for another reason, or ends (null). */
  onQuarantine(listener: (reason: string | null) => void): () => void;
  /**
   * Believes the metadata with this identity from now on, from this revision on. What is cached of
   * others is replaced. Resolves when they have been read.
   * @throws HyperscaleError `store-unavailable` when they are not in etcd in time.
   */
  accept(seen: StoreSeen): Promise<void>;
  /** Resolves when the metadata were read and are believed. */
  loaded(signal?: AbortSignal): Promise<void>;
};

/**
 * Connects to etcd, waiting for it as long as it takes, and reads everything. When what it finds is
 * not to be believed it returns as well, in quarantine and with nothing cached.
 * @throws HyperscaleError `cancelled` when `signal` fires first.
 */
export async function createEtcdStore(options: EtcdStoreOptions): Promise<EtcdStore> {
  const { endpoints, prefix = '/hyperscale/', log, requestTimeoutMs = 10_000, signal } = options;
  const { clock = realClock, open = openSession } = options;
  const callTimeoutMs = Math.min(2000, Math.ceil(requestTimeoutMs / 2));
  checkOptions(endpoints, prefix);
  const keys = storeKeys(prefix);
  const changeListeners = new Set<(change: StoreChange) => void>();
  const connectionListeners = new Set<(connected: boolean) => void>();
  const cache = createRecordCache(keys, log, (change) => tell(changeListeners, change));
  const quarantineListeners = new Set<(reason: string | null) => void>();
  const loaded = Promise.withResolvers<void>();
  /** Loaded, or found not to be believed. */
  const found = Promise.withResolvers<void>();
  let seen = options.seen ?? null;
  let kept = options.kept ?? new Map<string, string>();
  let clusterId: string | undefined = seen?.clusterId;
  let quarantine: string | null = null;

  function setQuarantine(reason: string | null): void {
    if (reason === quarantine) return;
    quarantine = reason;
    tell(quarantineListeners, reason);
    found.resolve();
  }

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
    const known = [...kept, ...cache.volumes().map((v) => [v.value.id, v.revision] as const)];
    const older = known.some(([id, at]) =>
      laterRevision(at, entries.get(keys.volume(id))?.revision ?? at),
    );
    const highest = later(cache.revision(), seen?.revision ?? '0');
    const wrong = otherStore(wantedId, entries.get(keys.clusterId)?.text, {
      seen: highest,
      setBack: older || seen?.setBack === true || laterRevision(highest, revision),
    });
    if (wrong !== undefined) {
      if (wrong.values.setBack === true) {
        seen = { clusterId: wantedId, revision: highest, setBack: true };
      }
      // Another identity may have been accepted while this one was looked for.
      if (clusterId === undefined || clusterId === wantedId) setQuarantine(wrong.message);
      throw wrong;
    }
    if (clusterId !== undefined && clusterId !== wantedId) {
      throw new Error('other metadata were accepted meanwhile');
    }
    clusterId = wantedId;
    cache.replaceAll(entries, revision);
    setQuarantine(null);
    const start = String(BigInt(revision) + 1n);
    const key = Buffer.from(prefix);
    const watch = { key, range_end: prefixEnd(prefix), start_revision: start };
    await session.follow(watch, ({ events }) => {
      for (const { type, kv } of events) {
        const name = kv.key.toString('utf8');
        if (type === 'Delete') cache.remove(name, kv.mod_revision);
        else cache.put(name, storedValue(kv));
        if (name !== keys.clusterId) continue;
        // Read again with what that means: these are not the metadata that were read at first.
        if (type === 'Delete' || kv.value.toString('utf8') !== clusterId) {
          session.fail(new Error('the metadata in etcd got another identity'));
        }
      }
      const last = events.at(-1);
      // A bare progress report may name a revision whose events are still on their way.
      if (last !== undefined) cache.advance(last.kv.mod_revision);
    });
  }

  const connection = createConnection({
    endpoints,
    open: (endpoint) => open(endpoint, callTimeoutMs),
    clock,
    log,
    prepare,
    changed: (session) => {
      if (session !== undefined) {
        lease.start(session);
        loaded.resolve();
        found.resolve();
      }
      tell(connectionListeners, session !== undefined);
    },
  });
  const context = {
    connection,
    keys,
    cache,
    clock,
    log,
    requestTimeoutMs,
    clusterId: () => clusterId ?? '',
  };
  const lease = createNodeLease(context);
  const transactions = createTransactions(context);

  await until(found.promise, signal, () => connection.close());

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
    ...createDrains(context),
    async keepLease(node) {
      await lease.set(node);
      return { update: lease.set };
    },
    leaseConfirmedAt: lease.confirmedAt,
    clusterId: () => clusterId ?? '',
    revision: cache.revision,
    seen: () =>
      clusterId === undefined
        ? null
        : { ...seen, clusterId, revision: later(cache.revision(), seen?.revision ?? '0') },
    retirement: createRetirement(context),
    vms: createVmRecords(context),
    quarantine: () => quarantine,
    onQuarantine: (listener) => subscribe(quarantineListeners, listener),
    async accept(accepted) {
      seen = accepted;
      kept = new Map();
      clusterId = accepted.clusterId;
      setQuarantine('the metadata in etcd are being read anew');
      cache.restart();
      connection.session()?.fail(new Error('other metadata are to be read'));
      await connection.whenReady(clock.now() + requestTimeoutMs);
    },
    loaded: (stop) => until(loaded.promise, stop, () => connection.close()),
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

async function until(
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
