/**
 * Pools that were taken out for good. The mark stays for ever, under the pool's random id: a pool
 * whose copies nobody waited for must never serve again, under whatever name. A node's name is free
 * when its permanent record is gone.
 */
import { HyperscaleError } from '../errors.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import type { EtcdSession } from './etcd-session.ts';
import type { RecordCache } from './record-cache.ts';
import type { StoreKeys } from './records.ts';
import { parseNode } from './records.ts';
import { again, untilAnsweredBy } from './until-answered.ts';

export type RetiredPool = {
  pool: string;
  /** The node that had it. */
  node: string;
  /** ISO 8601. */
  at: string;
  by: string;
};

export interface Retirement {
  /** Cached. */
  retired(): RetiredPool[];
  /**
   * Marks a pool as retired, at a moment when its node has no lease; again is fine.
   * @throws `not-allowed` when the node is up, `conflict` when it has another pool by now.
   */
  retire(pool: RetiredPool): Promise<void>;
  /** Removes the permanent record of a node that has this retired pool. Absent is fine. */
  unregister(pool: RetiredPool): Promise<void>;
}

/** The error with which a retired pool is refused. */
export function retiredPool({ pool, node, at }: RetiredPool): HyperscaleError {
  return new HyperscaleError(
    'foreign-pool',
    `pool ${pool} of node ${node} was taken out of the cluster at ${at}`,
    {
      hint: 'Its copies are out of date and are not used any more. To use the disk again, empty the pool directory and make a new pool: hyperscaled init-pool',
      values: { node, pool, retired: at },
    },
  );
}

export function createRetirement(context: {
  connection: EtcdConnection;
  keys: StoreKeys;
  cache: RecordCache;
  clock: Clock;
  requestTimeoutMs: number;
}): Retirement {
  const { keys, cache } = context;
  const untilAnswered = untilAnsweredBy(context);

  /** The permanent record of a node that has this pool, and its revision. */
  async function recordOf(session: EtcdSession, { node, pool }: RetiredPool) {
    const key = keys.node(node);
    const kv = (await session.range({ key: Buffer.from(key) })).kvs[0];
    const known = kv && parseNode(key, kv.value.toString('utf8'));
    return { key, known, mine: known?.pool === pool, revision: kv?.mod_revision ?? '0' };
  }

  return {
    retired: cache.retired,
    retire: (pool) =>
      untilAnswered(`cannot retire ${pool.node}`, async (session) => {
        const { key, mine, revision } = await recordOf(session, pool);
        if (!mine) {
          throw new HyperscaleError('conflict', `node ${pool.node} has not this pool any more`);
        }
        const lease = Buffer.from(keys.lease(pool.node));
        const mark = keys.retired(pool.pool);
        const text = JSON.stringify(pool);
        const answer = await session.txn({
          compare: [
            { key: Buffer.from(key), target: 'Mod', result: 'Equal', mod_revision: revision },
            { key: lease, target: 'Create', result: 'Equal', create_revision: '0' },
          ],
          success: [{ request_put: { key: Buffer.from(mark), value: Buffer.from(text) } }],
          failure: [{ request_range: { key: lease } }],
        });
        if (answer.succeeded) {
          cache.put(mark, { text, revision: answer.header.revision, lease: '0' });
          return true;
        }
        const up = (answer.responses[0]?.response_range?.kvs.length ?? 0) > 0;
        if (up) throw new HyperscaleError('not-allowed', `node ${pool.node} is up`);
        return again;
      }).then(() => undefined),
    unregister: (pool) =>
      untilAnswered(`cannot remove ${pool.node}`, async (session) => {
        const { key, mine, revision } = await recordOf(session, pool);
        if (!mine) return true;
        const drain = keys.drain(pool.node);
        const answer = await session.txn({
          compare: [
            { key: Buffer.from(key), target: 'Mod', result: 'Equal', mod_revision: revision },
          ],
          success: [
            { request_delete_range: { key: Buffer.from(key) } },
            { request_delete_range: { key: Buffer.from(drain) } },
          ],
        });
        if (!answer.succeeded) return again;
        cache.remove(key, answer.header.revision);
        cache.remove(drain, answer.header.revision);
        return true;
      }).then(() => undefined),
  };
}
