import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LayerKey } from './engine.ts';
import type { FileAccess } from './graphs.ts';
import { openDirectory, openSocket } from './socket-group.ts';

export type LogMethod = (values: Record<string, unknown>, message: string) => void;
/** The part of a logger that the engine uses; `pino` has it. */
export type EngineLog = { debug: LogMethod; info: LogMethod; warn: LogMethod; error: LogMethod };

export type EngineOptions = {
  /** Directory of this node's pool; it must exist. */
  pool: string;
  /** Sockets and run files; emptied at boot (a tmpfs). */
  runDirectory: string;
  logDirectory: string;
  /** Where other nodes reach this one. */
  address: string;
  replicaPort: number;
  /** First and last TCP port for gateways. */
  gatewayPorts: readonly [number, number];
  /** The group that may use attachment sockets; root alone when it is absent. */
  attachGroup?: number | undefined;
  /** Where links to block devices go; `/dev` when it is absent. */
  deviceDirectory?: string | undefined;
  /** Kept back in the pool for small files of ours. */
  reserveBytes?: number | undefined;
  log: EngineLog;
};

/** What the parts of the engine share. */
export type EngineEnvironment = EngineOptions & {
  access: FileAccess;
  heartbeat: string;
  layerPath: (key: LayerKey) => string;
};

/** Directories within the run directory. */
export const runParts = {
  attach: 'attach',
  heads: 'heads',
  proxies: 'proxies',
  gateways: 'gateways',
  replica: 'replica',
  burnt: 'burnt',
  devices: 'devices',
  disks: 'disks',
} as const;

export function runPart(options: EngineOptions, part: keyof typeof runParts): string {
  return join(options.runDirectory, runParts[part]);
}

export function attachSocketPath(options: EngineOptions, volume: string): string {
  return join(runPart(options, 'attach'), `${volume}.sock`);
}

export function logFile(options: EngineOptions, name: string): string {
  return join(options.logDirectory, `qemu-${name}.log`);
}

export function makeRunDirectories(options: EngineOptions): void {
  mkdirSync(options.logDirectory, { recursive: true, mode: 0o750 });
  for (const part of Object.values(runParts)) {
    mkdirSync(join(options.runDirectory, part), { recursive: true, mode: 0o755 });
  }
  openAttachments(options);
}

/** Also for sockets that an earlier daemon left, perhaps with another setting. */
function openAttachments({ runDirectory, attachGroup }: EngineOptions): void {
  const directory = join(runDirectory, runParts.attach);
  openDirectory(directory, attachGroup, runDirectory);
  for (const name of readdirSync(directory)) {
    if (name.endsWith('.sock')) openSocket(join(directory, name), attachGroup);
  }
}
