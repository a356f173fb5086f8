/**
 * The records of virtual machines: JSON under `PREFIX-vms/UUID`. They are read when they are needed, not
 * cached: a node looks at its own domains when one of them changes, and operators move guests.
 */
import type { ICompare, IRequestOp } from 'etcd3';
import { errorText, HyperscaleError } from '../errors.ts';
import { maxVms, type VmRecord } from '../vm/record.ts';
import type { NodeName } from '../volume/types.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import { listAll, prefixEnd } from './etcd-listing.ts';
import type { EtcdSession } from './etcd-session.ts';
import type { StoreLog } from './log.ts';
import type { StoreKeys } from './records.ts';
import { parseVm } from './records.ts';
import type { Versioned } from './store.ts';
import { untilAnsweredBy } from './until-answered.ts';

export interface VmRecords {
  /** All that can be read, by name; linearizable. */
  list(): Promise<Versioned<VmRecord>[]>;
  read(uuid: string): Promise<Versioned<VmRecord> | undefined>;
  /**
   * Compare-and-swap; `previous` null adds the record. `leaseGone` also requires that this node's
   * lease is absent at that moment.
   * @returns undefined when the record is not at `previous` any more, and nothing was changed.
   * @throws `store-unavailable` when etcd does not answer: it may have been done.
   */
  swap(
    previous: Versioned<VmRecord> | null,
    next: VmRecord,
    options?: { leaseGone?: NodeName },
  ): Promise<Versioned<VmRecord> | undefined>;
  /** Removes it if it is still at that revision. */
  remove(previous: Versioned<VmRecord>): Promise<boolean>;
}

export function createVmRecords(context: {
  connection: EtcdConnection;
  keys: StoreKeys;
  clock: Clock;
  log: StoreLog;
  requestTimeoutMs: number;
  clusterId: () => string;
}): VmRecords {
  const { keys, log, clusterId } = context;
  const untilAnswered = untilAnsweredBy(context);

  async function readOn(session: EtcdSession, uuid: string) {
    const key = keys.vm(uuid);
    const kv = (await session.range({ key: Buffer.from(key) })).kvs[0];
    if (kv === undefined) return undefined;
    return { value: parseVm(key, kv.value.toString('utf8')), revision: kv.mod_revision };
  }

  /** One change of one record, in the metadata that were read. @returns its revision, if done */
  async function change(
    session: EtcdSession,
    uuid: string,
    revision: string,
    operation: IRequestOp,
    leaseGone?: NodeName,
  ): Promise<string | undefined> {
    const id = clusterId();
    const answer = await session.txn({
      compare: [
        ...(leaseGone === undefined ? [] : [absent(keys.lease(leaseGone))]),
        {
          key: Buffer.from(keys.clusterId),
          target: 'Value',
          result: 'Equal',
          value: Buffer.from(id),
        },
        {
          key: Buffer.from(keys.vm(uuid)),
          target: 'Mod',
          result: 'Equal',
          mod_revision: revision,
        },
      ],
      success: [operation],
      failure: [],
    });
    return answer.succeeded ? answer.header.revision : undefined;
  }

  return {
    list: () =>
      untilAnswered('the virtual machines cannot be read', async (session) => {
        const { entries } = await listAll(session, keys.vm(''));
        const records: Versioned<VmRecord>[] = [];
        for (const [key, stored] of entries) {
          try {
            records.push({ value: parseVm(key, stored.text), revision: stored.revision });
          } catch (error) {
            log.error({ key }, `left out: ${errorText(error)}`);
          }
        }
        return records.sort((a, b) => a.value.name.localeCompare(b.value.name));
      }),
    read: (uuid) =>
      untilAnswered('the virtual machine cannot be read', (session) => readOn(session, uuid)),
    swap: (previous, next, options) =>
      untilAnswered(`the record of ${next.name} cannot be written`, async (session) => {
        const key = Buffer.from(keys.vm(next.uuid));
        if (previous === null) {
          const page = { key: Buffer.from(keys.vm('')), range_end: prefixEnd(keys.vm('')) };
          const { count } = await session.range({ ...page, count_only: true });
          if (Number(count) >= maxVms) throw tooMany(next, Number(count));
        }
        const write = { request_put: { key, value: Buffer.from(JSON.stringify(next)) } };
        const done = await change(
          session,
          next.uuid,
          previous?.revision ?? '0',
          write,
          options?.leaseGone,
        );
        if (done !== undefined) return { value: next, revision: done };
        // An earlier copy of this very request may have been the one that was done.
        const now = await readOn(session, next.uuid);
        return now?.value.operation === next.operation ? now : undefined;
      }),
    remove: (previous) =>
      untilAnswered(`the record of ${previous.value.name} cannot be removed`, async (session) => {
        const { uuid } = previous.value;
        const erase = { request_delete_range: { key: Buffer.from(keys.vm(uuid)) } };
        const done = await change(session, uuid, previous.revision, erase);
        return done !== undefined || (await readOn(session, uuid)) === undefined;
      }),
  };
}

function absent(key: string): ICompare {
  return {
    key: Buffer.from(key),
    target: 'Create',
    result: 'Equal',
    create_revision: '0',
  } as ICompare;
}

function tooMany({ name }: VmRecord, count: number): HyperscaleError {
  return new HyperscaleError('not-allowed', `${name}: ${count} virtual machines are recorded`, {
    hint: `A cluster keeps at most ${maxVms}; undefine those that are not needed.`,
  });
}
