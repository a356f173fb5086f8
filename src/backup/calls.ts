/**
 * What a daemon has done with a repository. It is done in a process of its own: a directory whose
 * server is gone hangs whoever touches it, and compression and hashes take processor time.
 */
import type { BlockNode } from '../engine/graphs.ts';
import type { BackupEntry } from './entry.ts';
import type { Manifest } from './records.ts';
import type { RetentionPolicy } from './retention.ts';
import type { SweepReport } from './sweep.ts';
import type { VerifyMode, VerifyReport } from './verify.ts';

export type RepositoryInfo = {
  id: string;
  chunkBytes: number;
  encrypted: boolean;
  removableAfterMs: number;
};

/** One backup to be written, as plain JSON. */
export type WriteRequest = {
  /** The volume's id. */
  volume: string;
  volumeName: string;
  name: string;
  /** Ms since 1970. */
  at: number;
  sizeBytes: number;
  /**
   * What the volume held, as QEMU reads it; null when that is nothing but zeros.
   */
  chain: BlockNode | null;
  /** The backup that holds the base, and how many of the newest layers changed it. */
  base: { backup: string; layers: number; sizeBytes: number } | null;
  /** Write none when nothing has changed since the base. */
  unlessSame: boolean;
  labels: Record<string, string>;
  /** 0: as fast as it goes. */
  bytesPerSecond: number;
  /** A place for a socket. */
  socket: string;
};

export type WriteResult = {
  /** The backup; that of the base when nothing has changed and so none was written. */
  entry: BackupEntry;
  isNew: boolean;
  readBytes: number;
  sentBytes: number;
  /** The backup that it was built on, and whether all had to be read for it. */
  parent: string | null;
  whole: boolean;
};

export type Calls = {
  describe: { args: Record<string, never>; result: RepositoryInfo };
  create: { args: { chunkBytes?: number }; result: RepositoryInfo };
  list: { args: { volume?: string }; result: BackupEntry[] };
  volumes: { args: Record<string, never>; result: string[] };
  show: { args: { volume: string; id: string }; result: Manifest };
  remove: { args: { volume: string; ids: string[] }; result: number };
  /** Gives up a write that was begun. */
  discard: { args: { volume: string; name: string; at: number }; result: number };
  /** Removes what no rule keeps, of backups whose names begin so; those too young stay for now. */
  prune: {
    args: { volume: string; prefix: string; keep: RetentionPolicy; held: string[] };
    result: BackupEntry[];
  };
  sweep: { args: { volume: string }; result: SweepReport };
  verify: {
    args: { volume: string; ids: string[] | null; mode: VerifyMode };
    result: VerifyReport;
  };
  write: { args: WriteRequest; result: WriteResult };
};

export type CallName = keyof Calls;

export type CallProgress = { doneBytes: number; totalBytes: number | null };

export type CallOptions = {
  signal?: AbortSignal;
  progress?: (progress: CallProgress) => void;
};

/** The backup targets of a node, whose repositories it can use. */
export interface TargetCalls {
  names(): string[];
  /**
   * @throws `not-found` when there is no such target here, `unavailable` when it does not answer in
   *   time, and what the repository throws.
   */
  call<Name extends CallName>(
    target: string,
    name: Name,
    args: Calls[Name]['args'],
    options?: CallOptions,
  ): Promise<Calls[Name]['result']>;
}
