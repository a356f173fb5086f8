import type { BlockDevices } from '../engine/block-devices.ts';
import type { Engine } from '../engine/engine.ts';
import type { LayerContent } from '../engine/layer-content.ts';
import type { PoolUsage } from '../engine/pool-usage.ts';
import type { Store } from '../store/store.ts';
import type { PoolLimits } from '../volume/space-room.ts';
import type { NodeView } from '../volume/types.ts';
import type { ResizeConsumers } from './consumer-sizes.ts';
import type { EventLog } from './events.ts';
import type { PeerHealth } from './peer-health.ts';
import type { Peers } from './peers.ts';

/** Time and chance, passed in so that a simulator can own them. */
export type Environment = {
  /** Wall clock, ISO 8601; for people only. */
  now(): string;
  /** Monotonic milliseconds. */
  monotonic(): number;
  /** 128 random bits as 32 hex digits. */
  randomId(): string;
  /** Calls back once; returns a function that cancels. */
  after(milliseconds: number, callback: () => void): () => void;
};

export type Log = {
  debug(values: object, text: string): void;
  info(values: object, text: string): void;
  warn(values: object, text: string): void;
  error(values: object, text: string): void;
};

/** This node in this boot. */
export type Self = { node: string; pool: string; boot: string };

/** Everything that the agent of one node works with. */
export type Context = {
  self: Self;
  store: Store;
  engine: Engine;
  content: LayerContent;
  /** Block devices of this host; absent where there are none to be had, as in a simulation. */
  blockDevices?: BlockDevices;
  /** This node has no pool: nothing is kept here, and nothing written. */
  withoutPool?: true;
  /** From when on a pool is told to be full; absent: the defaults. */
  poolLimits?: PoolLimits;
  /** What the files of this node's pool take; absent in a simulation. */
  measurePool?: (volumes?: readonly string[]) => Promise<PoolUsage>;
  peers: Peers;
  health: PeerHealth;
  events: EventLog;
  environment: Environment;
  log: Log;
  /** Absent where nothing that uses volumes can be told of a new size. */
  resizeConsumers?: ResizeConsumers;
  /** How long a dead node's copies are waited for before new ones are made elsewhere. */
  repairDelayMs: number;
  /**
   * How fast copies are fetched that are wanted only because they are read here, bytes a second;
   * absent: as fast as it goes.
   */
  localCopyBytesPerSecond?: number;
  /** Nodes as the store's cache has them, with leases only while they can be believed. */
  nodes(): NodeView[];
  /** False for a while after the store came back, when leases may not have been renewed yet. */
  leasesKnown(): boolean;
};
