import { isHyperscaleError } from '../errors.ts';
import type { NodeName } from '../volume/types.ts';
import { endView, isOver, viewHost, viewKeeper } from '../volume/view.ts';
import { connectionsHere } from './revert.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Nobody has been connected for so long: whoever had it opened is gone. */
const unusedMs = 60_000;
/** How often connections are looked at. */
const lookMs = 10_000;

/** Clears the view of one record away when it is over. Watches nothing while it is none. */
export class ViewKeeper {
  readonly #worker: VolumeWorker;
  readonly #kick: () => void;
  /** Since when nobody is connected; null while somebody is. */
  #unusedSince: number | null = null;
  #cancelLook: (() => void) | null = null;

  /** @param kick called when it is time to call `tidy` again. */
  constructor(worker: VolumeWorker, kick: () => void) {
    this.#worker = worker;
    this.#kick = kick;
  }

  end(): void {
    this.#cancelLook?.();
    this.#cancelLook = null;
  }

  /** @returns true when the record was changed. */
  async tidy(givenUp: ReadonlySet<NodeName>): Promise<boolean> {
    const { volume, context } = this.#worker;
    if (volume?.view === undefined || volume.tail.phase === 'deleting') {
      this.end();
      return false;
    }
    const nodes = context.nodes();
    const over = context.leasesKnown() && isOver(volume, nodes, givenUp);
    if (!(over && viewKeeper(volume, nodes) === context.self.node) && !this.#isUnused())
      return false;
    try {
      await this.#worker.change(endView);
    } catch (error) {
      if (!isHyperscaleError(error, 'not-found')) throw error;
    }
    context.log.info({ volume: volume.id, view: volume.view }, 'a view is over');
    return true;
  }

  /** Only its own host sees its consumers. */
  #isUnused(): boolean {
    const { volume, context } = this.#worker;
    const { environment, self } = context;
    if (volume?.view?.untilUnused !== true || viewHost(volume) !== self.node) return false;
    const now = environment.monotonic();
    if (connectionsHere(this.#worker) > 0) this.#unusedSince = null;
    else this.#unusedSince ??= now;
    if (this.#unusedSince !== null && now - this.#unusedSince >= unusedMs) return true;
    this.#cancelLook?.();
    this.#cancelLook = environment.after(lookMs, this.#kick);
    return false;
  }
}
