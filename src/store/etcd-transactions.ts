/**
 * Compare-and-swap on records, with an outcome that is never guessed.
 *
 * A transaction whose answer is lost may have been done, or may still be done later: it can wait
 * in a socket of an etcd that hangs. Reading the unchanged record therefore proves nothing. What is
 * safe is to issue the very same transaction again: a record is at a revision once only, so at
 * most one of the copies can pass the comparison, and all of them write the same. After the answer
 * to any copy, each other copy fails its comparison for ever. So the rule is: issue it until it is
 * answered, recognise our own work by `operation` (in the record, or in its history when others
 * have gone on from it), and throw `store-unavailable` with outcome `unknown` when the time is up.
 * The caller then reads again and goes on with another operation; should the lost one land in
 * between, the new one fails its comparison.
 */

import type { IKeyValue, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import { GRPCOutOfRangeError } from 'etcd3';
import pLimit from 'p-limit';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { isNameless } from '../volume/delete.ts';
import type { NodeLease, Volume } from '../volume/types.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import { isRefusal, type Outcome, storeUnavailable } from './etcd-errors.ts';
import type { RecordCache } from './record-cache.ts';
import { laterRevision, storedValue } from './record-cache.ts';
import type { StoreKeys } from './records.ts';
import { parseLease, parseVolume } from './records.ts';
import type { Versioned } from './store.ts';

/** Transactions under way at once; more would only wait in etcd, with their time running. */
const mostAtOnce = 64;

type Context = {
  connection: EtcdConnection;
  keys: StoreKeys;
  cache: RecordCache;
  clock: Clock;
  requestTimeoutMs: number;
  clusterId: () => string;
};

/** `doubtful`: an earlier copy was not answered and may have been the one that was done. */
type Decision = { answer: ITxnResponse; doubtful: boolean };

const read = (key: string): IRequestOp => ({ request_range: { key: Buffer.from(key) } });
const write = (key: string, value: string): IRequestOp => ({
  request_put: { key: Buffer.from(key), value: Buffer.from(value) },
});
const erase = (key: string): IRequestOp => ({ request_delete_range: { key: Buffer.from(key) } });
const atRevision = (key: string, revision: string) =>
  ({ key: Buffer.from(key), target: 'Mod', result: 'Equal', mod_revision: revision }) as const;
const hasValue = (key: string, value: string) =>
  ({
    key: Buffer.from(key),
    target: 'Value',
    result: 'Equal',
    value: Buffer.from(value),
  }) as const;
const absent = (key: string) =>
  ({ key: Buffer.from(key), target: 'Create', result: 'Equal', create_revision: '0' }) as const;

type Wanted = Required<Pick<ITxnRequest, 'compare' | 'success' | 'failure'>>;

/** The key-value pair that the `index`th operation of a transaction read. */
function found(answer: ITxnResponse, index: number): IKeyValue | undefined {
  return answer.responses[index]?.response_range?.kvs[0];
}

function textOf(kv: IKeyValue | undefined): string | undefined {
  return kv?.value.toString('utf8');
}

export function createTransactions(context: Context) {
  const { connection, keys, cache, clock, requestTimeoutMs, clusterId } = context;

  const inTurn = pLimit(mostAtOnce);
  const newDeadline = () => clock.now() + requestTimeoutMs;

  /**
   * Issues a transaction that is safe to repeat until etcd answers it. It is done only in the
   * metadata that the caller has read: revisions of others may be equal by chance.
   */
  async function decide(what: string, wanted: Wanted, deadline: number): Promise<Decision> {
    const id = clusterId();
    const txn: ITxnRequest = {
      compare: [hasValue(keys.clusterId, id), ...wanted.compare],
      success: wanted.success,
      failure: [...wanted.failure, read(keys.clusterId)],
    };
    let doubtful = false;
    let cause: unknown;
    for (;;) {
      const outcome: Outcome = doubtful ? 'unknown' : 'no';
      const session = await connection.whenReady(deadline).catch((error: unknown) => {
        if (!isHyperscaleError(error, 'store-unavailable')) throw error;
        throw storeUnavailable(what, outcome, cause ?? error);
      });
      let answer: ITxnResponse | undefined;
      try {
        answer = await inTurn(async () =>
          session.lost.aborted ? undefined : await session.txn(txn),
        );
      } catch (error) {
        if (isRefusal(error)) throw storeUnavailable(what, outcome, error);
        doubtful = true;
        cause = error;
      }
      if (answer === undefined) continue;
      const holder = answer.succeeded ? id : textOf(found(answer, wanted.failure.length));
      if (holder === id) return { answer, doubtful };
      throw storeUnavailable(what, outcome, new Error('etcd holds other metadata now'));
    }
  }

  /** Remembers a record that a transaction showed us, and gives it as a version. */
  function learn(key: string, kv: IKeyValue): void {
    cache.put(key, storedValue(kv));
  }

  function written(key: string, text: string, revision: string): Versioned<Volume> {
    cache.put(key, { text, revision, lease: '0' });
    return { value: parseVolume(key, text), revision };
  }

  /** Looks for our operation among the versions of the record that came after `since`. */
  async function findInHistory(
    what: string,
    key: string,
    newest: IKeyValue,
    since: string,
    operation: string,
    deadline: number,
  ): Promise<Versioned<Volume> | undefined> {
    let kv: IKeyValue | undefined = newest;
    while (kv !== undefined && laterRevision(kv.mod_revision, since)) {
      const value = parseVolume(key, kv.value.toString('utf8'));
      if (value.operation === operation) return { value, revision: kv.mod_revision };
      const before: string = String(BigInt(kv.mod_revision) - 1n);
      kv = (await readAt(what, key, deadline, before)).kv;
    }
    return undefined;
  }

  /** Linearizable read, or of an old revision; repeated until it is answered. */
  async function readAt(what: string, key: string, deadline: number, revision = '0') {
    for (;;) {
      const session = await connection.whenReady(deadline);
      try {
        const answer = await session.range({ key: Buffer.from(key), revision });
        return { kv: answer.kvs[0], at: answer.header.revision };
      } catch (error) {
        if (error instanceof GRPCOutOfRangeError) throw storeUnavailable(what, 'unknown', error);
        if (isRefusal(error)) throw storeUnavailable(what, 'no', error);
      }
    }
  }

  /** A tombstone may have to wait for a node that is down; its name can be used again at once. */
  function freedName(before: Volume, after: Volume) {
    return isNameless(after) && !isNameless(before) ? [erase(keys.name(after.name))] : [];
  }

  /** Adds a record; `parent`: and changes this one with it. Undefined: that one has changed. */
  async function add(
    volume: Volume,
    parent: { previous: Versioned<Volume>; next: Volume } | null,
  ): Promise<Versioned<Volume> | undefined> {
    const key = keys.volume(volume.id);
    const name = keys.name(volume.name);
    const text = JSON.stringify(volume);
    const what = `cannot create volume ${volume.name}`;
    const other = parent && { key: keys.volume(parent.next.id), text: JSON.stringify(parent.next) };
    const { answer, doubtful } = await decide(
      what,
      {
        compare: [
          absent(key),
          absent(name),
          ...(other ? [atRevision(other.key, parent.previous.revision)] : []),
        ],
        success: [
          write(key, text),
          write(name, volume.id),
          ...(other ? [write(other.key, other.text)] : []),
        ],
        failure: [read(key), read(name), ...(other ? [read(other.key)] : [])],
      },
      newDeadline(),
    );
    if (answer.succeeded) {
      if (other) written(other.key, other.text, answer.header.revision);
      return written(key, text, answer.header.revision);
    }
    const record = found(answer, 0);
    const holder = textOf(found(answer, 1));
    const now = other ? found(answer, 2) : undefined;
    if (record !== undefined) learn(key, record);
    if (other && now !== undefined) learn(other.key, now);
    // Ids are random: the name leads to this id only if an unanswered copy was done.
    if (doubtful && holder === volume.id && record !== undefined) {
      const { text, revision } = storedValue(record);
      return { value: parseVolume(key, text), revision };
    }
    // A record is at a revision once only: no copy that was not answered can pass any more.
    if (other && now?.mod_revision !== parent.previous.revision) {
      if (now === undefined) cache.remove(other.key, answer.header.revision);
      return undefined;
    }
    // Taken by another; but an unanswered copy could still land when the name is free again.
    if (doubtful) throw storeUnavailable(what, 'unknown');
    throw new HyperscaleError(
      'exists',
      holder === undefined
        ? `a volume with id ${volume.id} exists`
        : `a volume named ${volume.name} exists`,
      { hint: 'Choose another name.', values: { name: volume.name, id: holder ?? volume.id } },
    );
  }

  return {
    /** @see Store.readVolume */
    async readVolume(id: string): Promise<Versioned<Volume> | undefined> {
      const key = keys.volume(id);
      const { kv, at } = await readAt(`cannot read volume ${id}`, key, newDeadline());
      if (kv === undefined) {
        cache.remove(key, at);
        return undefined;
      }
      learn(key, kv);
      const { text, revision } = storedValue(kv);
      return { value: parseVolume(key, text), revision };
    },

    /** @see Store.readLease */
    async readLease(node: string): Promise<NodeLease | null> {
      const key = keys.lease(node);
      const { kv } = await readAt(`cannot read the lease of ${node}`, key, newDeadline());
      return kv === undefined ? null : parseLease(key, storedValue(kv).text);
    },

    /** @see Store.create */
    async create(volume: Volume): Promise<Versioned<Volume>> {
      const created = await add(volume, null);
      if (created !== undefined) return created;
      throw new HyperscaleError('internal', 'a record that depends on no other met one');
    },

    /** @see Store.createWith */
    createWith(
      volume: Volume,
      parent: { previous: Versioned<Volume>; next: Volume },
    ): Promise<Versioned<Volume> | undefined> {
      assertSuccessor(parent.previous.value, parent.next);
      return add(volume, parent);
    },

    /** @see Store.rename */
    async rename(
      previous: Versioned<Volume>,
      next: Volume,
    ): Promise<Versioned<Volume> | undefined> {
      const key = keys.volume(next.id);
      assertSuccessor({ ...previous.value, name: next.name }, next);
      const text = JSON.stringify(next);
      const name = keys.name(next.name);
      const what = `cannot rename volume ${previous.value.name}`;
      const deadline = newDeadline();
      const { answer, doubtful } = await decide(
        what,
        {
          compare: [atRevision(key, previous.revision), absent(name)],
          success: [write(key, text), erase(keys.name(previous.value.name)), write(name, next.id)],
          failure: [read(key), read(name)],
        },
        deadline,
      );
      if (answer.succeeded) return written(key, text, answer.header.revision);
      const record = found(answer, 0);
      const holder = textOf(found(answer, 1));
      if (record === undefined) {
        cache.remove(key, answer.header.revision);
        return undefined;
      }
      learn(key, record);
      if (record.mod_revision !== previous.revision) {
        const { operation } = next;
        return doubtful
          ? findInHistory(what, key, record, previous.revision, operation, deadline)
          : undefined;
      }
      // The name is taken now, but an unanswered copy could still land when it is free again.
      if (doubtful) throw storeUnavailable(what, 'unknown');
      throw new HyperscaleError('exists', `a volume named ${next.name} exists`, {
        hint: 'Choose another name.',
        values: { name: next.name, id: holder },
      });
    },

    /** @see Store.swap */
    async swap(
      previous: Versioned<Volume>,
      next: Volume,
      options: { leaseGone?: string } = {},
    ): Promise<Versioned<Volume> | undefined> {
      const key = keys.volume(next.id);
      assertSuccessor(previous.value, next);
      const text = JSON.stringify(next);
      const what = `cannot change volume ${next.name}`;
      const compare: Wanted['compare'] = [atRevision(key, previous.revision)];
      if (options.leaseGone !== undefined) compare.push(absent(keys.lease(options.leaseGone)));
      const deadline = newDeadline();
      const { answer, doubtful } = await decide(
        what,
        {
          compare,
          success: [write(key, text), ...freedName(previous.value, next)],
          failure: [read(key)],
        },
        deadline,
      );
      if (answer.succeeded) return written(key, text, answer.header.revision);
      const record = found(answer, 0);
      if (record === undefined) {
        cache.remove(key, answer.header.revision);
        return undefined;
      }
      learn(key, record);
      if (!doubtful) return undefined;
      if (record.mod_revision === previous.revision) {
        // The lease is there now, but an unanswered copy could still land when it is gone again.
        throw storeUnavailable(what, 'unknown');
      }
      return findInHistory(what, key, record, previous.revision, next.operation, deadline);
    },

    /** @see Store.remove */
    async remove(previous: Versioned<Volume>): Promise<boolean> {
      const { id, name } = previous.value;
      const key = keys.volume(id);
      const { answer, doubtful } = await decide(
        `cannot remove volume ${name}`,
        {
          compare: [atRevision(key, previous.revision)],
          success: isNameless(previous.value) ? [erase(key)] : [erase(key), erase(keys.name(name))],
          failure: [read(key)],
        },
        newDeadline(),
      );
      const record = answer.succeeded ? undefined : found(answer, 0);
      if (record === undefined) cache.remove(key, answer.header.revision);
      else learn(key, record);
      return answer.succeeded || (doubtful && record === undefined);
    },
  };
}

/** What a swap may never do, whoever asks: these would break the rule of the lost answer. */
function assertSuccessor(previous: Volume, next: Volume): void {
  const broken =
    next.id !== previous.id || next.name !== previous.name
      ? 'changes the id or the name'
      : next.operation === previous.operation
        ? 'has no operation of its own'
        : undefined;
  if (broken === undefined) return;
  throw new HyperscaleError('internal', `a swap of volume ${previous.name} ${broken}`, {
    values: { id: previous.id, operation: next.operation },
  });
}
