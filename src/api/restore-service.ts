import type { BackupWish } from '../restore/choose.ts';
import type { Policy, Volume } from '../volume/types.ts';

export type RestoreRequest = {
  /** Of the new volume. */
  name: string;
  policy: Policy;
  /** Name of the backup target. */
  target: string;
  wish: BackupWish;
  /** Answers when it can be used, which is at once; its content comes in the background. */
  stream: boolean;
};

/** Volumes from backups. */
export interface RestoreService {
  /**
   * Makes a volume of a backup on this node; resolves when it can be attached. When it fails before, or
   * `signal` ends it, nothing is left.
   * @throws `not-found` when this node has no such target or that has no such backup, `bad-input` when
   *   several are meant or the key is wrong, `damaged` naming the part that is lost, `exists`,
   *   `no-space`, `unavailable`, `timeout`, `cancelled`
   */
  restore(request: RestoreRequest, signal: AbortSignal): Promise<Volume>;
}
