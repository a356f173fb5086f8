/** What the daemon and the programs that serve backups to guests tell each other: files, by layer. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupEntry } from '../backup/entry.ts';
import type { ProcessIdentity } from '../engine/process.ts';
import type { SaidError, WantedBackup } from './lines.ts';
import type { ReadPin } from './open-backup.ts';

/** What such a program is told. */
export type StreamRequest = WantedBackup & {
  /** Also the name under which it is served over TCP. */
  layer: string;
  /** Where it listens for heads: a port of the range, the wanted one if that is free. */
  address: string;
  ports: readonly [number, number];
  port: number | null;
  /** Pins of those that served it before on this node, and were killed. */
  stale: readonly ReadPin[];
};

/** What it tells. */
export type StreamState = {
  process: ProcessIdentity;
  /** Null while it opens the backup. */
  serves: { entry: BackupEntry; sizeBytes: number; port: number } | null;
  /** As long as it has it. */
  pin: ReadPin | null;
  /** Why it waits, why a read failed, or why it ended. */
  problem: SaidError | null;
};

export class StreamFiles {
  readonly layer: string;
  /** Where it listens for the copying, on this host. */
  readonly socket: string;
  readonly request: string;
  readonly #state: string;

  constructor(directory: string, layer: string) {
    this.layer = layer;
    this.socket = join(directory, `${layer}.sock`);
    this.request = join(directory, `${layer}.json`);
    this.#state = join(directory, `${layer}.state`);
  }

  /** The layer that a file of this kind belongs to, or undefined. */
  static layerOf(name: string): string | undefined {
    return /^([0-9a-f]{32})\.state$/.exec(name)?.[1];
  }

  writeRequest(request: StreamRequest): void {
    writeFileSync(this.request, JSON.stringify(request), { mode: 0o600 });
  }

  /** Pins of one that is gone, and of those before it that it had not given up yet. */
  stale(): ReadPin[] {
    const own = this.read()?.pin ?? null;
    let older: readonly ReadPin[] = [];
    try {
      older = this.readRequest().stale ?? [];
    } catch {
      // There was none.
    }
    return own === null ? [...older] : [...older, own];
  }

  readRequest(): StreamRequest {
    return JSON.parse(readFileSync(this.request, 'utf8')) as StreamRequest;
  }

  write(state: StreamState): void {
    writeFileSync(`${this.#state}.new`, JSON.stringify(state), { mode: 0o600 });
    renameSync(`${this.#state}.new`, this.#state);
  }

  /** Null when nothing was told yet. */
  read(): StreamState | null {
    try {
      return JSON.parse(readFileSync(this.#state, 'utf8')) as StreamState;
    } catch {
      return null;
    }
  }

  remove(): void {
    for (const path of [this.request, this.#state, this.socket]) rmSync(path, { force: true });
  }
}
