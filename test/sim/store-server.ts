import type {
  ICompare,
  IEvent,
  IKeyValue,
  IPutRequest,
  IRangeRequest,
  IRangeResponse,
  IRequestOp,
  IResponseHeader,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
  IWatchResponse,
} from 'etcd3';
import { GRPCNotFoundError, GRPCOutOfRangeError } from 'etcd3';
import type { Core } from './core.ts';

type Change = { revision: number; key: string; kv: IKeyValue | null };
type Lease = {
  ttlMs: number;
  keys: Set<string>;
  lost: boolean;
  until: number;
  cancel: () => void;
};
type Watcher = { prefix: string; deliver: (answer: IWatchResponse) => void };

/** The identity that the simulated store has from the beginning. */
export const clusterId = 'sim-cluster';
const clusterIdKey = '/hyperscale/cluster-id';

/** A lease outlives its time by up to this: etcd looks for expired ones now and then. */
const expiryLooseMs = 600;
const none = Buffer.alloc(0);

/**
 * etcd as the daemons see it: one revision for each transaction, leases by its own clock, watches
 * from a revision on, compaction. It can hang (what arrives is done afterwards, however late) and
 * restart (what has arrived is lost, what was done stays).
 */
export class EtcdServer {
  readonly #core: Core;
  readonly #keys = new Map<string, IKeyValue>();
  readonly #history: Change[] = [];
  readonly #leases = new Map<string, Lease>();
  readonly #watchers = new Set<Watcher>();
  readonly #inbox: (() => void)[] = [];
  #committed: (key: string, before: string | null, after: string | null) => void;
  readonly #resets = new Set<() => void>();
  #revision = 1;
  #compacted = 0;
  #nextLease = 1;
  #hung = false;
  #down = false;

  /** @param committed is told of every change of a key at the moment it is done */
  constructor(
    core: Core,
    committed: (key: string, before: string | null, after: string | null) => void,
  ) {
    this.#core = core;
    this.#committed = () => undefined;
    this.#revision += 1;
    this.#put(clusterIdKey, Buffer.from(clusterId), undefined);
    this.#committed = committed;
  }

  get answers(): boolean {
    return !this.#hung && !this.#down;
  }

  get down(): boolean {
    return this.#down;
  }

  /** A message has arrived: `work` is what is done about it. */
  receive(work: () => void): void {
    if (this.#down) return;
    if (this.#hung) this.#inbox.push(work);
    else work();
  }

  /** Called when connections break because the process ended. Returns an unsubscribe function. */
  onReset(listener: () => void): () => void {
    this.#resets.add(listener);
    return () => this.#resets.delete(listener);
  }

  hang(): void {
    this.#hung = true;
  }

  wake(): void {
    if (!this.#hung) return;
    this.#hung = false;
    for (const work of this.#inbox.splice(0)) work();
  }

  stop(): void {
    this.#down = true;
    this.#hung = false;
    this.#inbox.length = 0;
    this.#watchers.clear();
    for (const reset of [...this.#resets]) reset();
  }

  /** Leases begin their time anew, as after a change of etcd's leader. */
  start(): void {
    if (!this.#down) return;
    this.#down = false;
    for (const id of this.#leases.keys()) this.renew(id);
  }

  compact(): void {
    this.#compacted = this.#revision;
    const kept = this.#history.filter((c) => c.revision > this.#compacted);
    this.#history.splice(0, this.#history.length, ...kept);
  }

  range(request: IRangeRequest): IRangeResponse {
    const at = Number(request.revision ?? 0);
    if (at > 0 && at < this.#compacted) {
      throw new GRPCOutOfRangeError('required revision has been compacted');
    }
    const key = text(request.key);
    const limit = Number(request.limit ?? 0);
    const wanted =
      request.range_end === undefined
        ? [key]
        : [...this.#keys.keys()].filter((k) => k >= key && k < text(request.range_end)).sort();
    const found = wanted.flatMap((k) => this.#at(k, at) ?? []);
    const kvs = limit > 0 ? found.slice(0, limit) : found;
    return { header: this.#header(), kvs, more: kvs.length < found.length, count: '' };
  }

  put(request: IPutRequest): IResponseHeader {
    const lease = request.lease === undefined ? undefined : String(request.lease);
    if (lease !== undefined && !this.#leases.has(lease)) {
      throw new GRPCNotFoundError('requested lease not found');
    }
    this.#revision += 1;
    this.#put(text(request.key), request.value ?? none, lease);
    this.#publish();
    return this.#header();
  }

  txn(request: ITxnRequest): ITxnResponse {
    const succeeded = (request.compare ?? []).every((c) => this.#holds(c));
    const operations = (succeeded ? request.success : request.failure) ?? [];
    const writes = operations.some((o) => o.request_range === undefined);
    if (writes) this.#revision += 1;
    const responses = operations.map((o) => this.#operate(o));
    if (writes) this.#publish();
    return { header: this.#header(), succeeded, responses };
  }

  grant(seconds: number): string {
    const id = String(this.#nextLease++);
    this.#leases.set(id, {
      ttlMs: seconds * 1_000,
      keys: new Set(),
      lost: false,
      until: 0,
      cancel: () => undefined,
    });
    this.renew(id);
    return id;
  }

  /** @returns the seconds it lives from now on; 0 when it is gone. */
  renew(id: string): number {
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.lost) return 0;
    const { random, scheduler } = this.#core;
    lease.until = scheduler.now() + lease.ttlMs;
    lease.cancel();
    const expire = () => {
      // An etcd that does not run drops no lease; it looks again when it does.
      if (!this.answers) lease.cancel = scheduler.after(random.int(1, expiryLooseMs), expire);
      else this.revoke(id);
    };
    lease.cancel = scheduler.after(lease.ttlMs + random.int(0, expiryLooseMs), expire);
    return lease.ttlMs / 1_000;
  }

  /** Leases of living nodes. */
  leases(): string[] {
    return [...this.#leases.keys()];
  }

  /** The lease that keeps a key whose name ends so. */
  leaseOf(ending: string): string | undefined {
    return [...this.#leases].find(([, l]) => [...l.keys].some((key) => key.endsWith(ending)))?.[0];
  }

  /** Nobody can renew it any more; its keys stay until it has run out. */
  lose(id: string): void {
    const lease = this.#leases.get(id);
    if (lease !== undefined) lease.lost = true;
  }

  /** Ends a lease with its keys, as its expiry does. */
  revoke(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    lease.cancel();
    this.#leases.delete(id);
    if (lease.keys.size === 0) return;
    this.#revision += 1;
    for (const key of lease.keys) this.#remove(key);
    this.#publish();
  }

  /**
   * Follows keys with a prefix from a revision on; `deliver` gets what has happened since at once.
   * @returns what ends it; undefined when that revision is compacted.
   */
  watch(prefix: string, from: number, deliver: Watcher['deliver']): (() => void) | undefined {
    if (from <= this.#compacted) return undefined;
    const watcher = { prefix, deliver };
    const missed = this.#history.filter((c) => c.revision >= from && c.key.startsWith(prefix));
    for (const change of missed) deliver(this.#answer([change]));
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #header(): IResponseHeader {
    return { cluster_id: '1', member_id: '1', revision: String(this.#revision), raft_term: '1' };
  }

  #holds(c: ICompare): boolean {
    const kv = this.#keys.get(text(c.key));
    if (c.target === 'Value') return kv?.value.toString('utf8') === text(c.value);
    return c.target === 'Mod'
      ? (kv?.mod_revision ?? '0') === String(c.mod_revision)
      : (kv?.create_revision ?? '0') === String(c.create_revision);
  }

  #operate(o: IRequestOp): IResponseOp {
    if (o.request_put !== undefined) {
      this.#put(text(o.request_put.key), o.request_put.value ?? none, undefined);
    } else if (o.request_delete_range !== undefined) {
      this.#remove(text(o.request_delete_range.key));
    } else if (o.request_range !== undefined) {
      return { response_range: this.range(o.request_range) } as IResponseOp;
    }
    return {} as IResponseOp;
  }

  #at(key: string, revision: number): IKeyValue | undefined {
    if (revision === 0) return this.#keys.get(key);
    const change = this.#history.findLast((c) => c.key === key && c.revision <= revision);
    const now = this.#keys.get(key);
    if (change !== undefined) return change.kv ?? undefined;
    return now !== undefined && Number(now.mod_revision) <= revision ? now : undefined;
  }

  #put(key: string, value: Buffer, lease: string | undefined): void {
    const old = this.#keys.get(key);
    const revision = String(this.#revision);
    const kv: IKeyValue = {
      key: Buffer.from(key),
      create_revision: old?.create_revision ?? revision,
      mod_revision: revision,
      version: '1',
      value,
      lease: lease ?? '0',
    };
    this.#detach(key, old);
    if (lease !== undefined) this.#leases.get(lease)?.keys.add(key);
    this.#keys.set(key, kv);
    this.#history.push({ revision: this.#revision, key, kv });
    this.#committed(key, old?.value.toString('utf8') ?? null, value.toString('utf8'));
  }

  #remove(key: string): void {
    const old = this.#keys.get(key);
    if (old === undefined) return;
    this.#detach(key, old);
    this.#keys.delete(key);
    this.#history.push({ revision: this.#revision, key, kv: null });
    this.#committed(key, old.value.toString('utf8'), null);
  }

  #detach(key: string, kv: IKeyValue | undefined): void {
    if (kv !== undefined) this.#leases.get(kv.lease)?.keys.delete(key);
  }

  /** Tells the watchers what the newest revision changed. */
  #publish(): void {
    const changes: Change[] = [];
    for (let i = this.#history.length - 1; i >= 0; i -= 1) {
      const change = this.#history[i] as Change;
      if (change.revision !== this.#revision) break;
      changes.unshift(change);
    }
    if (changes.length === 0) return;
    const answer = this.#answer(changes);
    for (const { prefix, deliver } of this.#watchers) {
      if (changes.some((c) => c.key.startsWith(prefix))) deliver(answer);
    }
  }

  #answer(changes: readonly Change[]): IWatchResponse {
    const events = changes.map(({ key, kv, revision }) => ({
      type: kv === null ? 'Delete' : 'Put',
      kv: kv ?? {
        key: Buffer.from(key),
        create_revision: '0',
        mod_revision: String(revision),
        version: '0',
        value: none,
        lease: '0',
      },
    })) as IEvent[];
    return { ...emptyAnswer, header: this.#header(), events };
  }
}

const emptyAnswer = {
  watch_id: '0',
  created: false,
  canceled: false,
  compact_revision: '0',
  cancel_reason: '',
  fragment: false,
};

function text(buffer: Buffer | undefined): string {
  return buffer?.toString('utf8') ?? '';
}
