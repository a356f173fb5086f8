import type { HeadSpec } from '../../src/engine/engine.ts';
import type { Volume } from '../../src/volume/types.ts';
import type { BlockHistory } from './checker-blocks.ts';
import type { Groups } from './checker-groups.ts';
import type { Machine } from './core.ts';
import type { Disk } from './disk.ts';

/** What is known of one volume. */
export type Known = {
  id: string;
  record: Volume | null;
  history: BlockHistory;
  /** What each layer holds since it was sealed, for ever; by layer id. */
  sealed: Map<string, number[]>;
  /** Layers that a head has opened. */
  opened: Set<string>;
  /** Sessions whose detach was answered. */
  detached: Set<string>;
  /** What its ancestors show of it; nothing when it was not cloned. */
  below: number[];
  /** What each snapshot and each episode shows, for ever; by id. */
  snapshots: Map<string, number[]>;
  /** The newest epoch in which a head has completed a write. */
  servedEpoch: number;
};

/** What the parts of the checker share. */
export interface Checks {
  readonly disks: readonly Disk[];
  readonly counts: { sealed: number; reverts: number; imports: number; backups: number };
  readonly groups: Groups;
  /** What lies in the files that users have, by their checksums. */
  readonly files: ReadonlyMap<string, readonly number[]>;
  /** What lies in backups on targets, by their ids. */
  readonly backups: ReadonlyMap<string, readonly number[]>;
  /** The heads that live, and where. */
  readonly heads: () => { machine: Machine; spec: HeadSpec }[];
  /** The boot that a node has a lease for by the store. */
  readonly leaseBoot: (node: string) => string | undefined;
  fail(text: string): never;
  now(): number;
  known(volume: string): Known;
  /** The record as it is now. */
  record(volume: string): Volume | undefined;
  /** Every record that there is. */
  records(): Volume[];
  diskOf(node: string): Disk | undefined;
  isRotten(node: string, layer: string): boolean;
}

/** As ids are shown. */
export function short(id: string): string {
  return id.slice(0, 8);
}
