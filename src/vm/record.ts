/**
 * What the cluster knows of a virtual machine with HyperScale disks: where it belongs, and all that
 * another node needs to start it. Pure: each step takes a record and gives the next one.
 *
 * The record follows what libvirt says, except where a node is told to take a guest over: then the
 * record moves first, by compare-and-swap, and only the node that it names may start the guest.
 */
import type { NodeName, VolumeId } from '../volume/types.ts';

/** A live migration that is under way, or whose end has not been cleared up yet. */
export type VmMigration = {
  from: NodeName;
  to: NodeName;
  /** ISO 8601. */
  since: string;
  /** Volumes that were not attached on `to` before: they are detached there when it fails. */
  made: VolumeId[];
};

/**
 * The guest was claimed for `node` because `from` is down, and is not there yet. `failed`: why `node`
 * could not start it; it has cleaned up after itself, and another node may claim the guest.
 */
export type VmEvacuation = { from: NodeName; since: string; failed: string | null };

export type VmRecord = {
  schema: 1;
  /** libvirt's UUID of the domain. */
  uuid: string;
  name: string;
  /** Where the domain runs; where it is defined when it is shut off. */
  node: NodeName;
  running: boolean;
  /** The persistent definition; null for a transient domain. */
  xml: string | null;
  /** The domain as it runs, so that it can be started again; null when it is shut off. */
  liveXml: string | null;
  volumes: VolumeId[];
  migration: VmMigration | null;
  evacuation: VmEvacuation | null;
  /** Nodes it was evacuated from which have not removed its old domain yet. */
  leftOn: NodeName[];
  /** Unique to each compare-and-swap. */
  operation: string;
};

/** The record without what each swap makes anew. */
export type VmState = Omit<VmRecord, 'operation'>;

/** A domain as the libvirt of one node has it. */
export type DomainSeen = {
  uuid: string;
  name: string;
  presence: 'defined' | 'active';
  xml: string | null;
  liveXml: string | null;
  /** Volumes that its disks are on. */
  volumes: VolumeId[];
};

/**
 * Longer definitions are not recorded: a domain with 30 disks has about 20 KiB, and an etcd takes
 * 1.5 MiB in one request.
 */
export const maxXmlBytes = 400_000;

/** More are not recorded: all are read whenever a node looks at its domains. */
export const maxVms = 2_000;

/** An earlier life of a domain that goes on elsewhere: it is ended and removed, never recorded. */
export function isLeftover(record: VmState, node: NodeName): boolean {
  return record.leftOn.includes(node) && record.node !== node;
}

/**
 * The record after `self` has seen a domain of its own, or null when it says so already or another
 * node has the say.
 */
export function noted(
  record: VmState | undefined,
  seen: DomainSeen,
  self: NodeName,
): VmState | null {
  if (record === undefined) return seen.volumes.length === 0 ? null : stateOf(seen, self);
  const running = seen.presence === 'active';
  const { migration, evacuation } = record;
  if (record.node !== self) {
    // Whoever runs it has it, also when libvirt moved it without us; what was left behind has not.
    if (!running || record.leftOn.includes(self)) return null;
    return { ...stateOf(seen, self), migration, leftOn: record.leftOn };
  }
  // It may be anywhere on its way, or is about to be started here: whoever does that tells its end.
  if (migration !== null && migration.to !== self) return null;
  if (evacuation !== null && !running) return null;
  const next = { ...stateOf(seen, self), migration, leftOn: record.leftOn };
  return sameState(record, next) ? null : next;
}

/** The domain is not on `self` any more, or has no volumes: true when that is for `self` to tell. */
export function goesWithDomain({ node, migration, evacuation }: VmState, self: NodeName): boolean {
  return node === self && migration === null && evacuation === null;
}

/** Only kept for the nodes that still have an old life of the domain. */
export function gone(record: VmState): VmState {
  return { ...record, running: false, xml: null, liveXml: null, volumes: [] };
}

/** There is nothing to be started or defined any more. */
export function isGone({ xml, liveXml }: VmState): boolean {
  return xml === null && liveXml === null;
}

/** A migration begins. */
export function migrating(record: VmState, migration: VmMigration): VmState {
  return { ...record, migration };
}

/** The guest runs where it was to go; its attachments at the source are yet to be ended. */
export function moved(record: VmState): VmState {
  return record.migration === null ? record : { ...record, node: record.migration.to };
}

/** Everything of the migration is cleared up. */
export function settled(record: VmState): VmState {
  return { ...record, migration: null };
}

/**
 * `to` shall start (or define) what ran on its dead node. Whoever may have the old domain, or what a
 * migration left of it, gives it up.
 */
export function claimed(record: VmState, to: NodeName, since: string): VmState {
  const { migration, evacuation, leftOn, node } = record;
  const ends = migration === null ? [] : [migration.from, migration.to];
  return {
    ...record,
    node: to,
    migration: null,
    evacuation: { from: evacuation?.from ?? node, since, failed: null },
    leftOn: [...new Set([...leftOn, node, ...ends])].filter((name) => name !== to),
  };
}

/** It could not be started on the node that claimed it, where nothing of it is left. */
export function failedToArrive(record: VmState, why: string): VmState {
  const { evacuation } = record;
  return evacuation === null ? record : { ...record, evacuation: { ...evacuation, failed: why } };
}

/** It is there, on the node that claimed it. */
export function arrived(record: VmState): VmState {
  return { ...record, evacuation: null };
}

/** Nothing of the old domain is left on `node`. */
export function cleared(record: VmState, node: NodeName): VmState {
  return { ...record, leftOn: record.leftOn.filter((name) => name !== node) };
}

function stateOf(seen: DomainSeen, node: NodeName): VmState {
  const { uuid, name, xml, liveXml, volumes, presence } = seen;
  return {
    schema: 1,
    uuid,
    name,
    node,
    running: presence === 'active',
    xml,
    liveXml,
    volumes,
    migration: null,
    evacuation: null,
    leftOn: [],
  };
}

/** Equal in everything that libvirt says of a domain. */
function sameState(one: VmState, other: VmState): boolean {
  return (
    one.name === other.name &&
    one.running === other.running &&
    one.xml === other.xml &&
    one.liveXml === other.liveXml &&
    one.evacuation === other.evacuation &&
    one.volumes.join() === other.volumes.join()
  );
}
