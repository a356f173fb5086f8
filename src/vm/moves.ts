/** What the API and other nodes ask of the part of a daemon that moves virtual machines. */
import type { NodeName } from '../volume/types.ts';
import type { MigrationFigures, MigrationSent } from './domains.ts';
import type { Presence } from './migration-end.ts';

export type Migrated = MigrationFigures & {
  uuid: string;
  name: string;
  from: NodeName;
  to: NodeName;
  /** From the call to the end, with attaching and detaching, milliseconds. */
  tookMs: number;
  /** What is left to be done in the background, one sentence each. */
  notes: string[];
};

export type MigrationState = {
  uuid: string;
  name: string;
  from: NodeName;
  to: NodeName;
  /** `queued`: others from this node go first. `clearing`: attachments are being removed. */
  step: 'queued' | 'attaching' | 'sending' | 'clearing';
  sent: MigrationSent | null;
};

export type EvacuatedVm = {
  uuid: string;
  name: string;
  /** Null when no node could take it. */
  to: NodeName | null;
  outcome: 'started' | 'defined' | 'failed';
  /** Why it failed. */
  reason: string | null;
};

export type Evacuated = { node: NodeName; vms: EvacuatedVm[] };

export interface VmMoves {
  /**
   * Live-migrates a guest, by name or UUID, from wherever it runs.
   * @throws `not-allowed` before anything is done, saying why it cannot move; `libvirt` or
   *   `cancelled` when it stayed where it was.
   */
  migrate(vm: string, to: NodeName, signal: AbortSignal): Promise<Migrated>;
  /** Cancels a migration; resolves when the guest is known to have stayed, or to have moved. */
  cancelMigration(vm: string): Promise<{ outcome: 'stayed' | 'moved' }>;
  /** Null when it is not being migrated. */
  migration(vm: string): Promise<MigrationState | null>;
  /** Starts the guests of a dead node elsewhere. @throws `not-allowed` when it is up. */
  evacuate(
    node: NodeName,
    wishes: { to: NodeName | null; vm: string | null },
    signal: AbortSignal,
  ): Promise<Evacuated>;

  /** For other nodes. */
  readonly here: VmMovesHere;
}

/** What one node asks of another one about guests. */
export interface VmMovesHere {
  presence(uuid: string): Promise<{ presence: Presence; figures: MigrationFigures | null }>;
  /** @throws when this node's libvirt does not answer */
  canRun(): Promise<void>;
  /** Starts, or defines, a guest whose record was claimed for this node. */
  takeIn(uuid: string, signal: AbortSignal): Promise<{ outcome: 'started' | 'defined' }>;
  migrate(uuid: string, to: NodeName, signal: AbortSignal): Promise<Migrated>;
  cancelMigration(uuid: string): Promise<{ outcome: 'stayed' | 'moved' }>;
  migration(uuid: string): Promise<MigrationState | null>;
}
