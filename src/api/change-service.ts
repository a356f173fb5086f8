import type { MetadataChange } from '../volume/change.ts';
import type { EpisodePlan, Policy, Volume } from '../volume/types.ts';

/** Changes of a volume that its consumers do not notice. */
export interface ChangeService {
  /**
   * Changes what is given; the rest stays. All of it or nothing.
   * @throws `exists` when the name is taken, `bad-input`, `not-enough-nodes` or `no-space` when there
   *   are not as many nodes as the policy needs, `conflict` when the volume is being deleted.
   */
  change(
    volume: string,
    change: {
      name?: string;
      policy?: Policy;
      metadata?: MetadataChange;
      /** Null: it is backed up by itself no longer. */
      episodes?: EpisodePlan | null;
    },
  ): Promise<Volume>;
  /**
   * Has all that the volume shows of others copied into it, in the background. One that goes on from
   * nobody is flat already.
   * @throws `in-use` when clones go on from it.
   */
  flatten(volume: string): Promise<Volume>;
  /** Gives a flatten up that is under way; none is fine. */
  cancelFlatten(volume: string): Promise<Volume>;
}
