import type { DrainReport } from '../cluster/drain.ts';
import type { FsckFinding } from '../cluster/fsck-types.ts';
import type { LossPlan } from '../volume/accept-loss-plan.ts';
import type { LossText } from '../volume/accept-loss-text.ts';
import type { Volume } from '../volume/types.ts';

export type FsckReport = {
  nodes: string[];
  volumes: number;
  files: number;
  /** Confirmed by a second look; with repair: what is left after it. */
  findings: FsckFinding[];
  /** What was done, sentence by sentence. */
  repaired: string[];
};

export type LossReport = LossPlan & LossText & { volume: string; name: string };

/** Exactly what an operator was shown and agreed to lose. */
export type AgreedLoss = { believed: { layer: string; node: string }[]; dropped: string[] };

/** What the removal of a node would mean. */
export type Removal = {
  node: string;
  pool: string;
  /** Volumes with something in its pool, or attached there. */
  volumes: string[];
  /** What would be lost, by volume; empty when it can go without loss. */
  losses: { volume: string; why: string }[];
};

/** `lost`: volumes of which nothing was left to go back to; their records stay until deleted. */
export type Removed = { node: string; pool: string; volumes: string[]; lost: string[] };

/** What only an operator asks for: checks, and decisions that the system never makes by itself. */
export interface OperatorService {
  /** Compares the records with what is on disk and running; `volume` by id or name. */
  fsck(
    request: { volume: string | null; repair: boolean },
    signal: AbortSignal,
  ): Promise<FsckReport>;
  /** What would be lost by going on now. @throws `not-allowed` when nothing would be. */
  loss(idOrName: string): Promise<LossReport>;
  /** Goes on without what was agreed to be lost. @throws `conflict` when that is not it any more. */
  force(idOrName: string, agreed: AgreedLoss, by: string): Promise<Volume>;
  removal(node: string): Promise<Removal>;
  /**
   * Takes a node that is gone for good out of the cluster.
   * @throws `not-allowed` when it is up, or when data would be lost and that is not accepted;
   *   `unavailable` when volumes still wait for others: asked again, it goes on.
   */
  removeNode(
    node: string,
    decision: { acceptDataLoss: boolean; by: string },
    signal: AbortSignal,
  ): Promise<Removed>;
  /** What a node holds, and how far its drain is. @throws `not-found` */
  drainOf(node: string): Promise<DrainReport>;
  /**
   * Records that everything shall leave a node; that goes on by itself.
   * @throws `not-allowed` when copies have nowhere to go and `partial` is not wanted.
   */
  drain(node: string, wish: { partial: boolean; by: string }): Promise<DrainReport>;
  /** Ends that. Idempotent. */
  undrain(node: string): Promise<DrainReport>;
  /**
   * Revokes an attachment without asking its host, and resolves when the old consumer can change
   * nothing any more. @throws `timeout` saying what is waited for; the revocation stays.
   */
  forceDetach(idOrName: string, host: string, signal: AbortSignal): Promise<void>;
}
