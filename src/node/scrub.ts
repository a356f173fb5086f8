import { errorText, HyperscaleError } from '../errors.ts';
import { markClean } from '../volume/copies.ts';
import { replicaOn, sealedLayer } from '../volume/queries.ts';
import type { Agent } from './agent.ts';
import type { ScrubMemory } from './scrub-memory.ts';
import { paced, sleep } from './scrub-pace.ts';
import {
  never,
  nextTarget,
  remembered,
  type Scrubbed,
  type ScrubTarget,
  scrubTargets,
} from './scrub-plan.ts';
import { damagedParts, hashOwnCopy } from './verify-copy.ts';
import { damageFound } from './verify-damage.ts';

/** Copies that came meanwhile are noticed after this at the latest. */
const lookMs = 3_600_000;
/** After a failure, e.g. while the store is away. */
const retryMs = 60_000;
const dayMs = 86_400_000;

export type ScrubOptions = {
  bytesPerSecond: number;
  /** How old the proof of a copy may get. */
  intervalDays: number;
};

/**
 * Reads this node's own proven copies again and again, one at a time and slowly, so that a disk that
 * returns something else than was sealed is found while other copies are still right. It gives way
 * to all other background work of the node, and nothing ever waits for it.
 */
export class Scrub {
  readonly #agent: Pick<Agent, 'context' | 'worker' | 'work'>;
  readonly #memory: ScrubMemory;
  readonly #options: ScrubOptions;
  readonly #stop = new AbortController();
  #scrubbed: Scrubbed = {};

  constructor(
    agent: Pick<Agent, 'context' | 'worker' | 'work'>,
    memory: ScrubMemory,
    options: ScrubOptions,
  ) {
    this.#agent = agent;
    this.#memory = memory;
    this.#options = options;
  }

  /** Begins; with a rate or an interval of 0 nothing is ever read. */
  start(): void {
    const { bytesPerSecond, intervalDays } = this.#options;
    if (bytesPerSecond === 0 || intervalDays === 0) return;
    this.#run().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#agent.context.log.error({ error: errorText(error) }, 'the scrub ended');
    });
  }

  stop(): void {
    this.#stop.abort(new HyperscaleError('cancelled', 'the daemon ends'));
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { environment, log } = this.#agent.context;
    const known = await this.#memory.read();
    const first = this.#targets().map(({ layer }) => [layer.id, never] as const);
    this.#scrubbed = known ?? Object.fromEntries(first);
    while (!signal.aborted) {
      let pauseMs: number;
      try {
        pauseMs = await this.#next();
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ error: errorText(error) }, 'a copy could not be scrubbed');
        pauseMs = retryMs;
      }
      await sleep(environment, pauseMs, signal);
    }
  }

  /** Reads the copy that is due, if one is. @returns how long to wait then. */
  async #next(): Promise<number> {
    const { environment } = this.#agent.context;
    const targets = this.#targets();
    await this.#remember(remembered(this.#scrubbed, targets, environment.now()));
    const intervalMs = this.#options.intervalDays * dayMs;
    const next = nextTarget(targets, this.#scrubbed, environment.now(), intervalMs);
    if (next === null || next.inMs > 0) {
      return Math.min(next?.inMs ?? intervalMs, intervalMs, lookMs);
    }
    await this.#scrub(next.target);
    const { id } = next.target.layer;
    await this.#remember({ ...this.#scrubbed, [id]: environment.now() });
    return 0;
  }

  async #scrub({ volume, layer }: ScrubTarget): Promise<void> {
    const { context, work } = this.#agent;
    const { self, environment } = context;
    const { signal } = this.#stop;
    const worker = this.#agent.worker(volume);
    // Its own reading is in the list as well. A backup may take days, and is slowed down like this.
    const isBusy = () => work.list().filter((w) => w.kind !== 'backup').length > 1;
    const pace = paced(environment, this.#options.bytesPerSecond, isBusy, signal);
    const found = await hashOwnCopy(worker, layer, work, signal, pace);
    const now = worker.volume && sealedLayer(worker.volume, layer.id);
    const mine = now && replicaOn(now, self.node);
    // Merged away, dropped, or in doubt since: there is nothing to say about it.
    if (now === undefined || mine?.state !== 'clean') return;
    const ranges = await damagedParts(worker, now, found, signal);
    if (ranges.length > 0) {
      await damageFound(worker, { layer: layer.id, node: self.node, ranges, by: 'a scrub' });
    } else if (mine.damage !== undefined) {
      await worker.change((v) => markClean(v, layer.id, self));
    }
  }

  #targets(): ScrubTarget[] {
    const { store, self } = this.#agent.context;
    return scrubTargets(
      store.volumes().map(({ value }) => value),
      self,
    );
  }

  async #remember(scrubbed: Scrubbed): Promise<void> {
    const changed = JSON.stringify(scrubbed) !== JSON.stringify(this.#scrubbed);
    this.#scrubbed = scrubbed;
    if (changed) await this.#memory.write(scrubbed);
  }
}
