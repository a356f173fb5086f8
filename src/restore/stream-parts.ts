/** What the restore of volumes that are used meanwhile needs of its node. */
import type { BackupEntry } from '../backup/entry.ts';
import type { HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import type { BackupWish } from './choose.ts';

/** Serves one backup to heads, in place of a layer. It outlives the daemon. */
export interface StreamSource {
  /** `port`: where heads find it. */
  readonly serves: { entry: BackupEntry; sizeBytes: number; port: number };
  /** Where the copying finds it, on this host. */
  readonly socket: string;
  readonly isGone: boolean;
  /** Why it waits for its target, or what of the backup is lost; null while all is well. */
  readonly problem: HyperscaleError | null;
  /** Nobody is to connect to it any more; it ends when those who are have left. */
  retire(): void;
  /** Ends it, whoever reads through it. */
  end(): void;
}

/** `port`: that of an earlier one, which heads know. */
export type WantedStream = {
  target: string;
  wish: BackupWish;
  layer: string;
  port: number | null;
};

/** What serves backups on this node. */
export interface StreamSources {
  /** Layers in whose place something serves, or served. */
  layers(): string[];
  /** What serves in place of a layer, if anything. */
  running(layer: string): StreamSource | null;
  /** @throws `unavailable` when this node has no such target, what opening the backup throws, `timeout`, `cancelled` */
  start(wanted: WantedStream, signal: AbortSignal): Promise<StreamSource>;
}

export type StreamParts = {
  agent: Agent;
  /** Names of this node's backup targets. */
  targets: readonly string[];
  sources: StreamSources;
  /** How fast it is copied; 0: as fast as it goes. */
  bytesPerSecond: number;
  newVolumeId: () => string;
};
