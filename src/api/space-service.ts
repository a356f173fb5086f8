import type { ClusterSpace, NodeSpace, VolumeSpace } from '../volume/space.ts';
import type { PoolLevel, PoolLimits } from '../volume/space-room.ts';
import type { Volume } from '../volume/types.ts';

/** What volumes, nodes and the cluster take of the disks; measured when it is asked for. */
export interface SpaceService {
  /** Nodes that do not answer within a second or two are counted by what records know. */
  cluster(): Promise<ClusterSpace>;
  /** Of all records, with the id of each. */
  volumes(): Promise<{ volume: Volume; space: VolumeSpace }[]>;
  /** @throws `not-found` */
  volume(idOrName: string): Promise<{ volume: Volume; space: VolumeSpace }>;
  /** @throws `not-found` */
  node(name: string): Promise<NodeSpace>;
  /**
   * Has all that is sealed now written anew without what is not shown any more, in the background;
   * what is open is sealed first. @throws `not-allowed` for what was deleted and clones need
   */
  compact(idOrName: string, signal: AbortSignal): Promise<Volume>;
  /** Gives a compact up that is under way; none is fine. */
  cancelCompact(idOrName: string): Promise<Volume>;
  /** How full the pool of a node is by this node's thresholds. */
  level(node: string): PoolLevel;
  readonly limits: PoolLimits;
}

/** What the files of the pool of the node take that is asked. */
export type PoolMeasureHere = {
  totalBytes: number;
  freeBytes: number;
  ownBytes: number;
  reserveBytes: number;
  files: { volume: string; layer: string; bytes: number }[];
};
