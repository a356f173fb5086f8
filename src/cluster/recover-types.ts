/** What a recovery of the records knows and decides. Everything is plain data. */
import type { RetiredPool } from '../store/retirement.ts';
import type { BootId, LayerId, NodeName, NodeRecord, PoolId, Volume } from '../volume/types.ts';

/** A record of a volume and where it was found. */
export type Candidate = {
  /** The node that kept it; null: it is in the store. */
  node: NodeName | null;
  /** The identity of the metadata that it is from. */
  clusterId: string;
  revision: string;
  volume: Volume;
};

/** What one node that answers says of its pool. */
export type NodeKnowledge = {
  name: NodeName;
  pool: PoolId;
  boot: BootId;
  /** Layers whose files lie in its pool. */
  layers: ReadonlySet<LayerId>;
  /** Epochs of a volume below this are refused there. */
  fences: ReadonlyMap<string, number>;
  /** Layers that a head there has opened in this boot. */
  burnt: ReadonlySet<LayerId>;
};

/** A pool that cannot be asked: its node does not answer, or has another pool now. */
export type SilentPool = { node: NodeName; pool: PoolId; why: string };

export type Situation = {
  /**
   * The store: `clusterId` null when it was never used; `current` when nobody who answers has seen
   * more of it than it holds, so that its own records are the newest of their history.
   */
  store: { clusterId: string | null; current: boolean };
  candidates: readonly Candidate[];
  nodes: readonly NodeKnowledge[];
  silent: readonly SilentPool[];
  /** What was found that is of no use, sentence by sentence. */
  findings: readonly string[];
  /** Every node that is known of, also those that do not answer. */
  records: readonly NodeRecord[];
  retired: readonly RetiredPool[];
};

/**
 * - `exact`: the newest record there can be is known and fits what lies in the pools.
 * - `in-doubt`: nothing acknowledged is lost, but some copies have to be compared first, or the
 *   epoch that was open is ended as after the death of its writer.
 * - `loss`: acknowledged writes may be missing; only with the operator's word.
 * - `impossible`: there is no way to put the volume together from what answers.
 * - `gone`: it was deleted after the store's copy was made; its old record is removed.
 */
export type Outcome = 'exact' | 'in-doubt' | 'loss' | 'impossible' | 'gone';

export type VolumePlan = {
  id: string;
  name: string;
  outcome: Outcome;
  /** Epoch of the newest record that was found. */
  epoch: number;
  /** Where that record was found. */
  from: NodeName | null;
  /** What is to be known about it, sentence by sentence. */
  notes: string[];
  /** What may be lost by going on now. */
  losses: string[];
  /** Nodes that may know a newer record and cannot be asked. */
  missing: NodeName[];
  /** As it shall be; null when it shall not be. */
  record: Volume | null;
  /** It is in the store like that. */
  unchanged: boolean;
  /** Members that must refuse the epochs below this before the record is written. */
  fence: { nodes: NodeName[]; epoch: number } | null;
};

export type RecoverPlan = {
  volumes: VolumePlan[];
  /** Registrations to be written. */
  nodes: NodeRecord[];
  /** Marks of pools that were taken out for good. */
  retired: RetiredPool[];
  findings: string[];
  /** Why it needs the operator's word, sentence by sentence. */
  losses: string[];
  /** Why it is not done at all. */
  refused: string | null;
};
