/** What everything that moves virtual machines works with. */
import type { Endpoint } from '../api/service.ts';
import { HyperscaleError } from '../errors.ts';
import type { Environment, Log } from '../node/context.ts';
import type { EventLog } from '../node/events.ts';
import type { Versioned } from '../store/store.ts';
import type { VmRecords } from '../store/vm-records.ts';
import type { NodeName, NodeView, Volume, VolumeId } from '../volume/types.ts';
import type { Domains } from './domains.ts';
import type { VmMovesHere } from './moves.ts';
import type { VmRecord, VmState } from './record.ts';

export type MoveContext = {
  self: NodeName;
  domains: Domains;
  records: VmRecords;
  volumes: {
    /** Cached. */
    get(id: VolumeId): Volume | undefined;
    attach(id: VolumeId, host: NodeName, signal: AbortSignal): Promise<Endpoint>;
    detach(id: VolumeId, host: NodeName, signal: AbortSignal): Promise<void>;
    /** Without asking the host; resolves when its consumer can change nothing any more. */
    forceDetach(id: VolumeId, host: NodeName, signal: AbortSignal): Promise<void>;
  };
  node(name: NodeName): NodeView | undefined;
  nodes(): NodeView[];
  /** False for a while after the store came back. */
  leasesKnown(): boolean;
  /** Calls to another node's daemon. */
  far(node: NodeName, options: { timeoutMs: number; signal?: AbortSignal }): VmMovesHere;
  /** Where the libvirt of a node takes guests from others. */
  migrationUri(node: NodeView): string;
  /** For short-lived files that hold domains' definitions. */
  directory: string;
  events: EventLog;
  environment: Environment;
  log: Log;
};

const rounds = 8;

/**
 * One compare-and-swap on a record, tried again when others were faster. `step` returns null to
 * leave it as it is.
 * @returns the record afterwards; undefined when there is none.
 */
export async function changeVm(
  { records, environment }: Pick<MoveContext, 'records' | 'environment'>,
  uuid: string,
  step: (record: VmRecord) => VmState | null,
  options: { leaseGone?: NodeName } = {},
): Promise<Versioned<VmRecord> | undefined> {
  for (let round = 0; round < rounds; round++) {
    const now = await records.read(uuid);
    if (now === undefined) return undefined;
    const next = step(now.value);
    if (next === null) return now;
    const operation = environment.randomId();
    const done = await records.swap(now, { ...next, operation }, options);
    if (done !== undefined) return done;
  }
  throw new HyperscaleError('conflict', `the record of domain ${uuid} keeps changing`, {
    hint: 'Try again.',
  });
}

/** Up by its lease, as the store's cache has it. */
export function isUp(context: Pick<MoveContext, 'node'>, node: NodeName): boolean {
  return (context.node(node)?.lease ?? null) !== null;
}

/** @throws `not-found`, or `node-down` when its lease is gone */
export function liveNode(context: Pick<MoveContext, 'node'>, name: NodeName): NodeView {
  const node = context.node(name);
  if (node === undefined) {
    throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(name)}`, {
      hint: 'List them with: hscli node list',
    });
  }
  if (node.lease !== null) return node;
  throw new HyperscaleError('node-down', `node ${name} is down`, {
    hint: 'Choose another one; hscli node list shows which are up.',
  });
}
