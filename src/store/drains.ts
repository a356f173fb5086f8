/**
 * The marks of nodes that are being drained, each under the node's name. A mark holds the pool that
 * it was made for: a node that gets the name later is not meant by it.
 */
import { HyperscaleError } from '../errors.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import type { RecordCache } from './record-cache.ts';
import { parseDrain, parseNode, type StoreKeys } from './records.ts';
import type { Store } from './store.ts';
import { again, untilAnsweredBy } from './until-answered.ts';

/** @see Store.markDrain */
export function createDrains(context: {
  connection: EtcdConnection;
  keys: StoreKeys;
  cache: RecordCache;
  clock: Clock;
  requestTimeoutMs: number;
}): Pick<Store, 'markDrain' | 'unmarkDrain'> {
  const { keys, cache } = context;
  const untilAnswered = untilAnsweredBy(context);

  return {
    markDrain: (mark) =>
      untilAnswered(`cannot drain ${mark.node}`, async (session) => {
        const recordKey = keys.node(mark.node);
        const record = (await session.range({ key: Buffer.from(recordKey) })).kvs[0];
        const known = record && parseNode(recordKey, record.value.toString('utf8'));
        if (record === undefined || known?.pool !== mark.pool) {
          throw new HyperscaleError('conflict', `node ${mark.node} has not this pool any more`);
        }
        const key = keys.drain(mark.node);
        const name = Buffer.from(key);
        const former = (await session.range({ key: name })).kvs[0];
        if (former !== undefined) {
          const text = former.value.toString('utf8');
          if (parseDrain(key, text).pool === mark.pool) return true;
        }
        const text = JSON.stringify(mark);
        const answer = await session.txn({
          compare: [
            {
              key: Buffer.from(recordKey),
              target: 'Mod',
              result: 'Equal',
              mod_revision: record.mod_revision,
            },
            {
              key: name,
              target: 'Mod',
              result: 'Equal',
              mod_revision: former?.mod_revision ?? '0',
            },
          ],
          success: [{ request_put: { key: name, value: Buffer.from(text) } }],
        });
        if (!answer.succeeded) return again;
        cache.put(key, { text, revision: answer.header.revision, lease: '0' });
        return true;
      }).then(() => undefined),
    unmarkDrain: (node) =>
      untilAnswered(`cannot end the drain of ${node}`, async (session) => {
        const key = keys.drain(node);
        const answer = await session.txn({
          compare: [],
          success: [{ request_delete_range: { key: Buffer.from(key) } }],
        });
        cache.remove(key, answer.header.revision);
        return true;
      }).then(() => undefined),
  };
}
