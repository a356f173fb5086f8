import type { Labels } from '../../src/volume/types.ts';
import type { SimRepository } from './backups.ts';
import type { Checker } from './checker.ts';
import type { Core, Machine } from './core.ts';
import type { SimNetwork } from './network.ts';
import type { Node } from './node.ts';
import type { Processes } from './processes.ts';
import type { EtcdServer } from './store-server.ts';

/** What every node stands on. */
export type NodeWorld = {
  core: Core;
  network: SimNetwork;
  etcd: EtcdServer;
  processes: Processes;
  node(name: string): Node;
  /** Chance of a call between nodes to be executed twice. */
  duplicates: number;
  repairDelayMs: number;
  /** Daemons read their copies again and again. */
  scrubs: boolean;
  /** Where machines stand, by their names. */
  labels: ReadonlyMap<string, Labels>;
  checker: Checker;
  machines: readonly Machine[];
  /** What lies on each backup target. */
  targets: ReadonlyMap<string, SimRepository>;
  /** Whether a node has a target in its configuration. */
  knowsTarget(node: string, target: string): boolean;
};
