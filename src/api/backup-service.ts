import type { BackupEntry } from '../backup/entry.ts';
import type { Manifest } from '../backup/records.ts';
import type { SweepReport } from '../backup/sweep.ts';
import type { VerifyMode, VerifyReport } from '../backup/verify.ts';
import type { Episode, NodeName, Volume } from '../volume/types.ts';

/** A backup target of the cluster, as far as this node can look into it. */
export type BackupTarget = {
  name: string;
  /** Those that have it configured. */
  nodes: NodeName[];
  /** Null when this node does not have it, or cannot open it now. */
  repository: { id: string; chunkBytes: number; encrypted: boolean } | null;
  /** Why this node cannot use it; null when it can, or does not have it. */
  problem: string | null;
};

/** A point in time of a volume that waits to be shipped, or was; and who ships it. */
export type EpisodeState = Episode & {
  shipper: NodeName | null;
  doneBytes: number;
  totalBytes: number | null;
  /** Why this node failed to ship it last; null when it did not. */
  problem: string | null;
};

export type BackupRequest = {
  /** Null: that of the volume's plan, else the only one of the cluster. */
  target: string | null;
  name: string | null;
  /** Null: the volume as it is now. */
  snapshot: string | null;
};

/** Backups of volumes on targets outside of the cluster. */
export interface BackupService {
  targets(): Promise<BackupTarget[]>;
  /** Makes the repository of a target. @throws `exists` */
  createRepository(target: string, options: { chunkBytes?: number }): Promise<BackupTarget>;
  /** Those of one volume (id or name), or all, by volume and time. */
  list(target: string, volume: string | null): Promise<BackupEntry[]>;
  /** By its id or the first eight digits or more. @throws `not-found` */
  show(target: string, backup: string): Promise<Manifest>;
  /** Removes it and frees its space. @throws `in-use` when it is too young for that target */
  remove(target: string, backup: string, signal: AbortSignal): Promise<BackupEntry>;
  /** Of one backup, of one volume, or all: reads them without restoring. */
  verify(
    target: string,
    which: { backup: string | null; volume: string | null; mode: VerifyMode },
    signal: AbortSignal,
  ): Promise<VerifyReport>;
  /** Frees what no backup needs. @throws `damaged` for volumes whose index cannot be read */
  sweep(target: string, volume: string | null, signal: AbortSignal): Promise<SweepReport>;
  /** Keeps what a volume holds until it is shipped. */
  begin(
    volume: string,
    request: BackupRequest,
    signal: AbortSignal,
  ): Promise<{ volume: Volume; episode: Episode }>;
  /** What waits, and what is the base of the next one. */
  episodes(volume: string): Promise<EpisodeState[]>;
  /**
   * Gives up an episode that is not shipped, or forgets a base: then the next backup compares all of
   * the volume. One that is not there is fine.
   */
  cancel(volume: string, episode: string): Promise<void>;
}
