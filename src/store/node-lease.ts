/**
 * This node's lease record. etcd3's own Lease does not tell when the confirmed request was sent,
 * gives up after two lifetimes and does not come back, so the renewals are ours.
 */

import { EtcdLeaseInvalidError, GRPCNotFoundError } from 'etcd3';
import { errorText, HyperscaleError } from '../errors.ts';
import type { NodeLease } from '../volume/types.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import { isRefusal, storeUnavailable } from './etcd-errors.ts';
import type { EtcdSession } from './etcd-session.ts';
import type { StoreLog } from './log.ts';
import { laterRevision, type RecordCache } from './record-cache.ts';
import type { StoreKeys } from './records.ts';
import { leaseSeconds } from './store.ts';

const renewEveryMs = 1000;
/** A renewal that was not answered for so long ends the session. */
const unansweredMs = 2500;

export type NodeLeaseKeeper = ReturnType<typeof createNodeLease>;

export function createNodeLease(context: {
  connection: EtcdConnection;
  keys: StoreKeys;
  cache: RecordCache;
  clock: Clock;
  log: StoreLog;
  requestTimeoutMs: number;
}) {
  const { connection, keys, cache, clock, log, requestTimeoutMs } = context;
  let wanted: NodeLease | undefined;
  /** The etcd lease in use; undefined when there is none or it is gone. */
  let lease: string | undefined;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  /** The revision at which the lease in use was given its record. */
  let takenAt = '0';
  /** The last of `confirmedAt` that held when the cache had followed up to `takenAt`. */
  let followedAt = Number.NEGATIVE_INFINITY;
  let writing: Promise<void> = Promise.resolve();

  function confirm(sentAt: number): void {
    confirmedAt = Math.max(confirmedAt, sentAt);
  }

  /**
   * Is the record in etcd, as far as the watch has told, what we want it to be? It may not be what we
   * wrote last: an older write that was given up can land after it.
   */
  function upToDate(node: NodeLease): boolean {
    return (
      lease !== undefined &&
      cache.leaseOf(node.name) === lease &&
      JSON.stringify(cache.leaseValueOf(node.name)) === JSON.stringify(node)
    );
  }

  /** Makes the record what is wanted, taking a lease if there is none. One at a time. */
  function write(session: EtcdSession): Promise<void> {
    writing = writing.catch(() => undefined).then(() => writeNow(session));
    return writing;
  }

  async function writeNow(session: EtcdSession): Promise<void> {
    if (wanted === undefined || upToDate(wanted)) return;
    let grantedAt: number | undefined;
    if (lease === undefined) {
      grantedAt = clock.now();
      lease = (await session.grant(leaseSeconds)).ID;
      log.info({ lease }, 'took a node lease');
    }
    const key = keys.lease(wanted.name);
    const text = JSON.stringify(wanted);
    try {
      const answer = await session.put({
        key: Buffer.from(key),
        value: Buffer.from(text),
        lease,
      });
      cache.put(key, { text, revision: answer.header.revision, lease });
      if (grantedAt !== undefined) {
        // Only now: a lease that holds no record keeps nobody from taking over.
        takenAt = answer.header.revision;
        confirm(grantedAt);
      }
    } catch (error) {
      if (isGone(error)) lease = undefined;
      throw error;
    }
  }

  /** Renews on this session for as long as it lasts. */
  async function serve(session: EtcdSession): Promise<void> {
    const sent: number[] = [];
    const stream = await session.renewals();
    stream.on('data', (answer) => {
      const sentAt = sent.shift();
      if (answer.ID !== lease) return;
      if (answer.TTL === '0' || answer.TTL === '-1') {
        log.warn({ lease }, 'the node lease is gone; taking a new one');
        lease = undefined;
        tick();
      } else if (sentAt !== undefined && wanted !== undefined && isAttached(wanted)) {
        confirm(sentAt);
      }
    });
    function tick(): void {
      if (wanted === undefined || session.lost.aborted) return;
      const oldest = sent[0];
      if (oldest !== undefined && clock.now() - oldest > unansweredMs) {
        session.fail(new Error('etcd does not answer lease renewals'));
        return;
      }
      if (lease !== undefined) {
        sent.push(clock.now());
        stream.write({ ID: lease });
      }
      if (!upToDate(wanted)) {
        write(session).catch((error: unknown) => {
          log.warn({ reason: errorText(error) }, 'cannot write the node lease; trying again');
        });
      }
    }
    session.every(renewEveryMs, tick);
    tick();
  }

  /** A renewed lease that lost its record, or whose record another process took, counts not. */
  function isAttached(node: NodeLease): boolean {
    return cache.leaseOf(node.name) === lease;
  }

  async function set(node: NodeLease): Promise<void> {
    if (wanted !== undefined && wanted.name !== node.name) {
      throw new HyperscaleError('internal', `the lease of ${wanted.name} is not ${node.name}'s`);
    }
    wanted = node;
    const deadline = clock.now() + requestTimeoutMs;
    while (!upToDate(wanted)) {
      const session = await connection.whenReady(deadline);
      try {
        await write(session);
      } catch (error) {
        if (isRefusal(error) && !isGone(error)) {
          throw storeUnavailable('cannot write the node lease', 'no', error);
        }
      }
    }
  }

  /**
   * A new lease tells nothing of what was done while there was none: its confirmations count once
   * the cache has all that came before it.
   */
  function confirmedAsFollowed(): number {
    if (!laterRevision(takenAt, cache.revision())) followedAt = confirmedAt;
    return followedAt;
  }

  return {
    /** Starts renewing on a new session. */
    start(session: EtcdSession): void {
      serve(session).catch((error: unknown) => session.fail(error));
    },
    set,
    confirmedAt: confirmedAsFollowed,
  };
}

function isGone(error: unknown): boolean {
  return error instanceof EtcdLeaseInvalidError || error instanceof GRPCNotFoundError;
}
