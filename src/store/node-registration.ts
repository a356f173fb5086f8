/** A node's permanent record. */

import { HyperscaleError } from '../errors.ts';
import type { NodeRecord } from '../volume/types.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import { isOurs, isRefusal, storeUnavailable } from './etcd-errors.ts';
import type { RecordCache } from './record-cache.ts';
import { storedValue } from './record-cache.ts';
import type { StoreKeys } from './records.ts';
import { parseNode, parseRetired } from './records.ts';
import { retiredPool } from './retirement.ts';

/** @see Store.registerNode; the time of the first registration stays. */
export async function registerNode(
  context: {
    connection: EtcdConnection;
    keys: StoreKeys;
    cache: RecordCache;
    clock: Clock;
    requestTimeoutMs: number;
  },
  record: NodeRecord,
): Promise<void> {
  const { connection, keys, cache, clock, requestTimeoutMs } = context;
  const key = keys.node(record.name);
  const name = Buffer.from(key);
  const mark = Buffer.from(keys.retired(record.pool));
  const deadline = clock.now() + requestTimeoutMs;
  for (;;) {
    const session = await connection.whenReady(deadline);
    try {
      const retired = (await session.range({ key: mark })).kvs[0];
      if (retired !== undefined) {
        throw retiredPool(parseRetired(mark.toString(), retired.value.toString('utf8')));
      }
      const kv = (await session.range({ key: name })).kvs[0];
      const known = kv && parseNode(key, kv.value.toString('utf8'));
      if (known !== undefined && known.pool !== record.pool) throw foreignPool(known, record);
      const text = JSON.stringify({
        ...record,
        registeredAt: known?.registeredAt ?? record.registeredAt,
      });
      if (kv !== undefined && kv.value.toString('utf8') === text) {
        cache.put(key, storedValue(kv));
        return;
      }
      // Repeating this after a lost answer is harmless: it is read and compared again.
      const answer = await session.txn({
        compare: [
          { key: name, target: 'Mod', result: 'Equal', mod_revision: kv?.mod_revision ?? '0' },
          { key: mark, target: 'Create', result: 'Equal', create_revision: '0' },
        ],
        success: [{ request_put: { key: name, value: Buffer.from(text) } }],
      });
      if (!answer.succeeded) continue;
      cache.put(key, { text, revision: answer.header.revision, lease: '0' });
      return;
    } catch (error) {
      if (error instanceof HyperscaleError) throw error;
      if (isRefusal(error)) throw storeUnavailable('cannot register this node', 'no', error);
      if (isOurs(error, session)) throw error;
    }
  }
}

function foreignPool(known: NodeRecord, record: NodeRecord): HyperscaleError {
  return new HyperscaleError(
    'foreign-pool',
    `node ${record.name} is recorded with pool ${known.pool}, but this pool is ${record.pool}`,
    {
      hint: `Mount the pool that this node had. If that disk is gone for good, take it out first, on another node: hscli node remove ${record.name}`,
      values: { node: record.name, recorded: known.pool, found: record.pool },
    },
  );
}
