import type { LimitsChange } from '../volume/limits.ts';
import type { Policy, Snapshot, Volume } from '../volume/types.ts';

/** What a new volume begins with: another one, a snapshot of it, or an image. */
export type CloneSource = { volume: string; snapshot: string | null };

/** Snapshots and clones. Volumes and snapshots are named by their names or ids. */
export interface SnapshotService {
  /**
   * Keeps what the volume shows at some moment between the call and the answer. Again with the same
   * id and name it finds the snapshot that there is.
   * @throws `exists`, `not-allowed`, `unavailable` when the volume has no room for another layer.
   */
  create(
    volume: string,
    request: { name: string; id?: string },
    signal: AbortSignal,
  ): Promise<{ volume: Volume; snapshot: Snapshot }>;
  /**
   * Keeps what several volumes hold at one instant; writes of all are held meanwhile.
   * @returns `heldMs`: how long that was at most, milliseconds.
   * @throws as `create`, `bad-input` for fewer than one or too many volumes, `conflict` when it cannot
   *   be done at one instant now. Then none of the snapshots stays.
   */
  createGroup(
    volumes: readonly string[],
    request: { name: string },
  ): Promise<{ group: string; heldMs: number; volumes: Volume[]; snapshots: Snapshot[] }>;
  /** One that is not there is fine. @throws `not-allowed` when it is protected */
  remove(volume: string, snapshot: string): Promise<Volume>;
  protect(volume: string, snapshot: string, isProtected: boolean): Promise<Volume>;
  /**
   * Where the volume is attached, it is attached again afterwards, under new sessions.
   * @throws `in-use` while somebody is connected to it, or newer snapshots or clones need what would
   *   go; `node-down` when that cannot be asked. Then nothing was done.
   */
  revert(volume: string, snapshot: string, signal: AbortSignal): Promise<Volume>;
  /**
   * A new volume that begins with what another one shows now, or a snapshot or an image of it. It
   * takes no time that depends on the size.
   * @throws `exists`, `bad-input` when it is to be smaller, `not-allowed` where too much hangs on it.
   */
  clone(
    source: CloneSource,
    request: {
      name: string;
      id?: string;
      /** Absent: that of the source. */
      sizeBytes?: number;
      policy?: Policy;
      /** Over those of the policy; the source's own are not taken over. */
      limits?: LimitsChange;
    },
    signal: AbortSignal,
  ): Promise<Volume>;
}
