/**
 * The cached records. Every key only moves forward: whatever is delivered late (a watch event
 * behind our own swap, a listing that was overtaken) is recognised by its revision and ignored.
 */

import type { IKeyValue } from 'etcd3';
import { errorText } from '../errors.ts';
import { isNameless } from '../volume/delete.ts';
import type { DrainMark, NodeLease, NodeRecord, NodeView, Volume } from '../volume/types.ts';
import type { StoreLog } from './log.ts';
import type { StoreKey, StoreKeys } from './records.ts';
import { parseDrain, parseLease, parseNode, parseRetired, parseVolume } from './records.ts';
import type { RetiredPool } from './retirement.ts';
import type { StoreChange, Versioned } from './store.ts';

/** The part of an etcd key-value pair that the cache needs. */
export type StoredValue = { text: string; revision: string; lease: string };

type CachedLease = { value: NodeLease; revision: string; lease: string };

export type RecordCache = ReturnType<typeof createRecordCache>;

/** True when revision `a` is later than `b`; revisions are decimal 64-bit numbers. */
export function laterRevision(a: string, b: string): boolean {
  return BigInt(a) > BigInt(b);
}

export function storedValue(kv: IKeyValue): StoredValue {
  return { text: kv.value.toString('utf8'), revision: kv.mod_revision, lease: kv.lease };
}

/** `emit` is called after the cache has the change, once for each. */
export function createRecordCache(
  keys: StoreKeys,
  log: StoreLog,
  emit: (change: StoreChange) => void,
) {
  const volumes = new Map<string, Versioned<Volume>>();
  const idsByName = new Map<string, string>();
  const nodes = new Map<string, Versioned<NodeRecord>>();
  const leases = new Map<string, CachedLease>();
  const retired = new Map<string, RetiredPool>();
  const drains = new Map<string, DrainMark>();
  /** The last revision applied for each key that exists, readable or not. */
  const present = new Map<string, string>();
  /** Removed keys, kept until the watch has passed them: an older event must not revive them. */
  const removed = new Map<string, string>();
  let revision = '0';

  /** Takes a value in, unless something as new is there. */
  function put(key: string, stored: StoredValue): void {
    // A key that is not here and older than what was seen has been removed since.
    const known = present.get(key) ?? removed.get(key) ?? revision;
    if (!laterRevision(stored.revision, known)) return;
    const parsed = keys.parse(key);
    if (parsed === undefined) return;
    present.set(key, stored.revision);
    removed.delete(key);
    try {
      apply(key, parsed, stored);
    } catch (error) {
      // A version that was readable before stays: what runs goes on, and swaps fail by revision.
      log.error({ key, revision: stored.revision }, `left out: ${errorText(error)}`);
    }
  }

  function apply(key: string, parsed: StoreKey, stored: StoredValue): void {
    const { revision } = stored;
    switch (parsed.kind) {
      case 'volume': {
        const volume = { value: parseVolume(key, stored.text), revision };
        const before = volumes.get(parsed.id)?.value.name;
        volumes.set(parsed.id, volume);
        if (before !== undefined && idsByName.get(before) === parsed.id) idsByName.delete(before);
        // The name of a tombstone or a base is free and may be another volume's by now.
        const { name } = volume.value;
        if (!isNameless(volume.value)) idsByName.set(name, parsed.id);
        emit({ kind: 'volume', id: parsed.id, volume });
        return;
      }
      case 'node':
        nodes.set(parsed.name, { value: parseNode(key, stored.text), revision });
        emitNode(parsed.name);
        return;
      case 'lease':
        leases.set(parsed.name, {
          value: parseLease(key, stored.text),
          revision,
          lease: stored.lease,
        });
        emitNode(parsed.name);
        return;
      case 'retired': {
        const mark = parseRetired(key, stored.text);
        retired.set(parsed.pool, mark);
        emit({ kind: 'node', name: mark.node, node: view(mark.node) ?? null });
        return;
      }
      case 'drain':
        drains.set(parsed.name, parseDrain(key, stored.text));
        emitNode(parsed.name);
        return;
      case 'name':
      case 'cluster-id':
        return;
    }
  }

  /** Notes that the key was removed at `at`, unless it was written after that. */
  function remove(key: string, at: string): void {
    const known = present.get(key) ?? removed.get(key);
    if (known !== undefined && !laterRevision(at, known)) return;
    present.delete(key);
    if (laterRevision(at, revision)) removed.set(key, at);
    const parsed = keys.parse(key);
    if (parsed?.kind === 'volume') {
      const old = volumes.get(parsed.id);
      if (old === undefined) return;
      volumes.delete(parsed.id);
      if (idsByName.get(old.value.name) === parsed.id) idsByName.delete(old.value.name);
      emit({ kind: 'volume', id: parsed.id, volume: null });
    } else if (parsed?.kind === 'node' && nodes.delete(parsed.name)) {
      emit({ kind: 'node', name: parsed.name, node: null });
    } else if (parsed?.kind === 'lease' && leases.delete(parsed.name)) {
      emitNode(parsed.name);
    } else if (parsed?.kind === 'drain' && drains.delete(parsed.name)) {
      emitNode(parsed.name);
    }
  }

  function emitNode(name: string): void {
    const node = view(name);
    if (node !== undefined) emit({ kind: 'node', name, node });
  }

  function view(name: string): NodeView | undefined {
    const record = nodes.get(name)?.value;
    if (record === undefined) return undefined;
    const drain = drains.get(name);
    const lease = leases.get(name)?.value ?? null;
    // A mark that an earlier node of the name left behind says nothing of this one.
    return drain?.pool === record.pool ? { ...record, lease, drain } : { ...record, lease };
  }

  /** Everything up to `to` has been seen. */
  function advance(to: string): void {
    if (!laterRevision(to, revision)) return;
    revision = to;
    for (const [key, at] of removed) if (!laterRevision(at, to)) removed.delete(key);
  }

  return {
    put,
    remove,
    advance,
    /** Makes the cache what the listing at revision `at` says, save for what is newer. */
    replaceAll(entries: Map<string, StoredValue>, at: string): void {
      for (const key of [...present.keys()]) if (!entries.has(key)) remove(key, at);
      for (const [key, stored] of entries) put(key, stored);
      advance(at);
    },
    /** The next listing is of other metadata: its revisions have nothing to do with these. */
    restart(): void {
      for (const key of present.keys()) present.set(key, '0');
      for (const [id, { value }] of volumes) volumes.set(id, { value, revision: '0' });
      removed.clear();
      revision = '0';
    },
    /** The highest revision seen on the watch or in a listing. */
    revision: () => revision,
    volumes: () => [...volumes.values()],
    volume: (id: string) => volumes.get(id),
    volumeNamed(name: string): Versioned<Volume> | undefined {
      const id = idsByName.get(name);
      return id === undefined ? undefined : volumes.get(id);
    },
    nodes: () => [...nodes.keys()].flatMap((name) => view(name) ?? []),
    node: view,
    retired: () => [...retired.values()],
    /** The etcd lease that the node's lease record hangs on. */
    leaseOf: (name: string) => leases.get(name)?.lease,
    /** What the node's lease record says. */
    leaseValueOf: (name: string) => leases.get(name)?.value,
  };
}
