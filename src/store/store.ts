import type { DrainMark, NodeLease, NodeRecord, NodeView, Volume } from '../volume/types.ts';

/** A record with the store revision it was last changed at. */
export type Versioned<T> = { value: T; revision: string };

/** What changed; `volume` null means it was removed. */
export type StoreChange =
  | { kind: 'volume'; id: string; volume: Versioned<Volume> | null }
  | { kind: 'node'; name: string; node: NodeView | null };

/**
 * Cluster metadata. Reads come from a cache that follows the store by watches, so they may lag;
 * only a swap decides. Every method that talks to the store fails with `store-unavailable` when it
 * cannot be reached in time, and then the outcome of a swap is unknown: `swap` itself finds out by
 * reading the record again and looking at its `operation`, as soon as the store answers.
 */
export interface Store {
  /** The identity of the metadata, as this node knows it: a recovery gives them a new one. */
  clusterId(): string;
  /**
   * Why the metadata in etcd are not believed: they are another cluster's, or were set back. Null
   * when nothing of the kind is known. Until that ends nothing may be opened, deleted, merged or
   * fenced; what serves guests runs on (protocol review, rule 11).
   */
  quarantine(): string | null;
  /** Cached records. */
  volumes(): Versioned<Volume>[];
  volume(id: string): Versioned<Volume> | undefined;
  volumeNamed(name: string): Versioned<Volume> | undefined;
  nodes(): NodeView[];
  node(name: string): NodeView | undefined;
  /** False while the store does not answer. */
  connected(): boolean;

  /** Linearizable read past the cache. */
  readVolume(id: string): Promise<Versioned<Volume> | undefined>;
  /** Linearizable read of a node's lease past the cache; null when it has none. */
  readLease(node: string): Promise<NodeLease | null>;
  /**
   * Adds a record and its name; `exists` when the name or the id is taken.
   * @throws `store-unavailable` as `swap`.
   */
  create(volume: Volume): Promise<Versioned<Volume>>;
  /**
   * Adds a record and its name, and changes another record, both or neither.
   * @returns undefined when that one is not at `parent.previous.revision` any more; then it is
   *   certain that nothing was changed.
   * @throws as `create`.
   */
  createWith(
    volume: Volume,
    parent: { previous: Versioned<Volume>; next: Volume },
  ): Promise<Versioned<Volume> | undefined>;
  /**
   * Compare-and-swap of a record that has another name: the old one is free then.
   * @returns as `swap`.
   * @throws `exists` when the new name is taken, and as `swap`.
   */
  rename(previous: Versioned<Volume>, next: Volume): Promise<Versioned<Volume> | undefined>;
  /**
   * Compare-and-swap on one record, whose name stays. A swap to a tombstone or a base also frees the
   * volume's name.
   * @returns the new version, or undefined when the record is not at `previous.revision` any more
   *   or the lease of `options.leaseGone` is there; then it is certain that nothing was changed.
   * @throws HyperscaleError `store-unavailable`; `values.outcome` is `no`, or `unknown` when it may
   *   have happened or may happen yet: read again and go on with another operation.
   * @param options.leaseGone also require that this node's lease is absent at that moment.
   */
  swap(
    previous: Versioned<Volume>,
    next: Volume,
    options?: { leaseGone?: string },
  ): Promise<Versioned<Volume> | undefined>;
  /** Removes a record, and its name unless a tombstone freed it, if still at that revision. */
  remove(previous: Versioned<Volume>): Promise<boolean>;

  /** Called for every change seen, after the cache has it. Returns an unsubscribe function. */
  onChange(listener: (change: StoreChange) => void): () => void;
  /** Called when the store becomes reachable or unreachable. */
  onConnection(listener: (connected: boolean) => void): () => void;

  /**
   * Writes this node's permanent record. Refuses (`foreign-pool`) when a node of that name is
   * recorded with another pool.
   */
  registerNode(record: NodeRecord): Promise<void>;
  /**
   * Marks a node as being drained; one that is marked already stays as it is.
   * @throws `conflict` when the node is not registered with the pool of the mark.
   */
  markDrain(mark: DrainMark): Promise<void>;
  /** Takes that mark away. Absent is fine. */
  unmarkDrain(node: string): Promise<void>;
  /**
   * Keeps this node's lease record there until `close`, taking a new lease whenever one is lost.
   * `update` changes what it says.
   */
  keepLease(lease: NodeLease): Promise<{ update(lease: NodeLease): Promise<void> }>;
  /**
   * When the store last confirmed this node's lease: milliseconds of the monotonic clock at which
   * the confirmed request was sent. Confirmations of a lease that was newly taken count only when
   * the cache has followed up to where it was taken.
   */
  leaseConfirmedAt(): number;
  /** Ends watches and connections; the lease runs out by itself (crash-only). */
  close(): Promise<void>;
}

/** Seconds until a silent node's lease runs out. */
export const leaseSeconds = 5;
