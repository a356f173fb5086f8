/** The keys of the metadata store, and the check of what is read from them. */

import { errorText, HyperscaleError } from '../errors.ts';
import type { VmRecord } from '../vm/record.ts';
import type { DrainMark, NodeLease, NodeRecord, Tail, Volume } from '../volume/types.ts';
import type { RetiredPool } from './retirement.ts';

/** What a key under the prefix stands for. */
export type StoreKey =
  | { kind: 'volume'; id: string }
  | { kind: 'name'; name: string }
  | { kind: 'node'; name: string }
  | { kind: 'lease'; name: string }
  | { kind: 'retired'; pool: string }
  | { kind: 'drain'; name: string }
  | { kind: 'cluster-id' };

/** The layout of the keys; `prefix` ends in a slash. */
export function storeKeys(prefix: string) {
  return {
    prefix,
    volume: (id: string) => `${prefix}volumes/${id}`,
    name: (name: string) => `${prefix}names/${name}`,
    node: (name: string) => `${prefix}nodes/${name}`,
    lease: (name: string) => `${prefix}leases/${name}`,
    retired: (pool: string) => `${prefix}retired/${pool}`,
    drain: (name: string) => `${prefix}drains/${name}`,
    /** Beside the prefix: what is long and seldom read is neither cached nor watched. */
    vm: (uuid: string) => `${prefix.slice(0, -1)}-vms/${uuid}`,
    clusterId: `${prefix}cluster-id`,
    /** Undefined for a key that is none of ours. */
    parse: (key: string): StoreKey | undefined => parseKey(prefix, key),
  };
}

export type StoreKeys = ReturnType<typeof storeKeys>;

function parseKey(prefix: string, key: string): StoreKey | undefined {
  if (!key.startsWith(prefix)) return undefined;
  const rest = key.slice(prefix.length);
  if (rest === 'cluster-id') return { kind: 'cluster-id' };
  const slash = rest.indexOf('/');
  const name = rest.slice(slash + 1);
  switch (rest.slice(0, slash + 1)) {
    case 'volumes/':
      return { kind: 'volume', id: name };
    case 'names/':
      return { kind: 'name', name };
    case 'nodes/':
      return { kind: 'node', name };
    case 'leases/':
      return { kind: 'lease', name };
    case 'retired/':
      return { kind: 'retired', pool: name };
    case 'drains/':
      return { kind: 'drain', name };
    default:
      return undefined;
  }
}

type Json = Record<string, unknown>;

const phases: Record<Tail['phase'], true> = {
  idle: true,
  opening: true,
  open: true,
  fencing: true,
  deleting: true,
};

/**
 * Reads a volume's record. Checks what everything else relies on, so that one damaged or newer
 * record is reported by its key instead of failing somewhere deep inside.
 * @throws HyperscaleError `old-software` for a newer schema, `internal` for anything else.
 */
export function parseVolume(key: string, text: string): Volume {
  const value = parseObject(key, text);
  const wrong = (what: string) => damaged(key, what);
  if (value.schema !== 1) {
    if (typeof value.schema !== 'number' || value.schema < 1) throw wrong('no schema number');
    throw newer(key, value.schema);
  }
  for (const field of ['id', 'name', 'createdAt', 'operation']) {
    if (typeof value[field] !== 'string' || value[field] === '') throw wrong(`no ${field}`);
  }
  if (!key.endsWith(`/${String(value.id)}`)) throw wrong('the id is not that of the key');
  for (const field of ['sizeBytes', 'epoch']) {
    if (!Number.isSafeInteger(value[field])) throw wrong(`${field} is not a whole number`);
  }
  for (const field of ['attachments', 'chain', 'garbage']) {
    if (!isListOfObjects(value[field])) throw wrong(`${field} is not a list`);
  }
  if (!(value.chain as Json[]).every((layer) => isListOfObjects(layer.replicas))) {
    throw wrong('a layer has no list of replicas');
  }
  if (!isObject(value.policy)) throw wrong('no policy');
  if (value.merge !== null && !isObject(value.merge)) throw wrong('merge is not an object');
  const tail = value.tail;
  if (!isObject(tail) || !Object.hasOwn(phases, String(tail.phase))) {
    throw wrong('the tail has no known phase');
  }
  return value as Volume;
}

/** Reads a node's permanent record. @throws HyperscaleError `internal` when it is damaged. */
export function parseNode(key: string, text: string): NodeRecord {
  const value = parseObject(key, text);
  for (const field of ['name', 'pool', 'address', 'registeredAt']) {
    if (typeof value[field] !== 'string') throw damaged(key, `no ${field}`);
  }
  for (const field of ['apiPort', 'replicaPort']) {
    if (typeof value[field] !== 'number') throw damaged(key, `no ${field}`);
  }
  if (value.labels !== undefined && !isObject(value.labels)) {
    throw damaged(key, 'labels is not an object');
  }
  for (const label of ['site', 'rack']) {
    const text = value.labels?.[label];
    if (text !== undefined && typeof text !== 'string') throw damaged(key, `no ${label}`);
  }
  return value as NodeRecord;
}

/** Reads what a live node says of itself. @throws HyperscaleError `internal` when damaged. */
export function parseLease(key: string, text: string): NodeLease {
  const value = parseObject(key, text);
  for (const field of ['name', 'pool', 'boot', 'version']) {
    if (typeof value[field] !== 'string') throw damaged(key, `no ${field}`);
  }
  for (const field of ['totalBytes', 'freeBytes']) {
    if (typeof value[field] !== 'number') throw damaged(key, `no ${field}`);
  }
  return value as NodeLease;
}

/** Reads the mark of a retired pool. @throws HyperscaleError `internal` when damaged. */
export function parseRetired(key: string, text: string): RetiredPool {
  const value = parseObject(key, text);
  for (const field of ['pool', 'node', 'at', 'by']) {
    if (typeof value[field] !== 'string') throw damaged(key, `no ${field}`);
  }
  return value as RetiredPool;
}

/** Reads the mark of a node that is being drained. @throws HyperscaleError `internal` when damaged. */
export function parseDrain(key: string, text: string): DrainMark {
  const value = parseObject(key, text);
  for (const field of ['node', 'pool', 'at', 'by']) {
    if (typeof value[field] !== 'string') throw damaged(key, `no ${field}`);
  }
  return value as DrainMark;
}

/**
 * Reads the record of a virtual machine.
 * @throws HyperscaleError `old-software` for a newer schema, `internal` when it is damaged.
 */
export function parseVm(key: string, text: string): VmRecord {
  const value = parseObject(key, text);
  if (typeof value.schema === 'number' && value.schema > 1) throw newer(key, value.schema);
  if (value.schema !== 1) throw damaged(key, 'no schema number');
  for (const field of ['uuid', 'name', 'node', 'operation']) {
    if (typeof value[field] !== 'string' || value[field] === '') throw damaged(key, `no ${field}`);
  }
  if (!key.endsWith(`/${String(value.uuid)}`)) throw damaged(key, 'the id is not that of the key');
  if (typeof value.running !== 'boolean') throw damaged(key, 'no running');
  for (const field of ['xml', 'liveXml']) {
    if (value[field] !== null && typeof value[field] !== 'string')
      throw damaged(key, `no ${field}`);
  }
  for (const field of ['migration', 'evacuation']) {
    if (value[field] !== null && !isObject(value[field])) throw damaged(key, `no ${field}`);
  }
  for (const field of ['volumes', 'leftOn']) {
    if (!Array.isArray(value[field])) throw damaged(key, `${field} is not a list`);
  }
  return value as VmRecord;
}

function parseObject(key: string, text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(key, errorText(error));
  }
  if (!isObject(value)) throw damaged(key, 'not a JSON object');
  return value;
}

function newer(key: string, schema: number): HyperscaleError {
  return new HyperscaleError(
    'old-software',
    `the record ${key} has schema ${schema}; this version knows schema 1`,
    { hint: 'upgrade hyperscale on this node', values: { key, schema } },
  );
}

function damaged(key: string, why: string): HyperscaleError {
  return new HyperscaleError('internal', `the record ${key} is damaged: ${why}`, {
    hint: `look at it with 'etcdctl get ${key}' and restore it from a backup`,
    values: { key },
  });
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isListOfObjects(value: unknown): boolean {
  return Array.isArray(value) && value.every(isObject);
}
