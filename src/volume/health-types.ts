import type { BootId, LayerId, NodeName, PoolId, ReplicaState, Volume, VolumeId } from './types.ts';

/**
 * - `healthy`: every layer has as many clean copies on live nodes as the policy asks for, and so
 *   does what is written now.
 * - `at-risk`: something has its only clean copy on one live node while the policy asks for more.
 * - `unavailable`: it cannot be read or written now.
 * - `degraded`: anything else that is not as the policy asks.
 */
export type HealthState = 'healthy' | 'degraded' | 'at-risk' | 'unavailable' | 'deleting';
export type Severity = 'degraded' | 'at-risk' | 'unavailable';

export type CopyReport = {
  node: NodeName;
  state: ReplicaState | 'open' | 'closing' | 'opening';
  /** The node is alive, with the pool (and for unsealed layers the boot) that the copy lies in. */
  up: boolean;
};

export type LayerReport = {
  /** Position in the chain, from 1; what texts call the layer. */
  number: number;
  id: LayerId;
  epoch: number;
  /** The record that it belongs to: the volume itself, or one that it was cloned from. */
  volume: VolumeId;
  state: 'sealed' | 'open' | 'closing' | 'opening';
  sizeBytes: number;
  /** Bytes allocated in the container; null until known. */
  bytes: number | null;
  copies: CopyReport[];
};

export type Finding = {
  severity: Severity;
  what: string;
  why: string;
  action: string;
  /** 0 to 1, null where it is not known or nothing is under way. */
  progress: number | null;
};

export type VolumeReport = {
  state: HealthState;
  /** One plain sentence. */
  summary: string;
  /** The node whose head may serve the volume now. */
  head: NodeName | null;
  copiesWanted: number;
  layers: LayerReport[];
  /** What is not as it should be, worst first. */
  findings: Finding[];
  /** What goes on in the background; not a fault. */
  work: { what: string; progress: number | null }[];
};

/** What a report needs to know of background work; `node` is where it runs. */
export type WorkView = {
  volume: string;
  kind: 'mend' | 'manifest' | 'merge' | 'delete' | 'verify' | 'import' | 'restore' | 'backup';
  layer: string;
  from: string | null;
  doneBytes: number;
  totalBytes: number | null;
  node: string;
};

/** What all parts of a report look at. */
export type ReportContext = {
  volume: Volume;
  /** What the record that layers belong to is called in commands. */
  called: string;
  wanted: number;
  upCount: number;
  work: readonly WorkView[];
  /** Why a copy at this place does not count now (`is down`), or null when it does. */
  problem(place: { node: NodeName; pool?: PoolId; boot?: BootId }): string | null;
};

/** How far these pieces of work are, together, from 0 to 1; null when it is not known. */
export function progressOf(work: readonly WorkView[]): number | null {
  let done = 0;
  let total = 0;
  for (const item of work) {
    if (item.totalBytes !== null && item.totalBytes > 0) {
      done += item.doneBytes;
      total += item.totalBytes;
    }
  }
  return total === 0 ? null : Math.min(1, done / total);
}
