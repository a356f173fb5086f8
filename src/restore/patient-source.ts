import { setTimeout as delay } from 'node:timers/promises';
import { isHyperscaleError } from '../errors.ts';
import type { BlockSource, SourceExtent } from './block-source.ts';

const firstPauseMs = 500;
const lastPauseMs = 10_000;

export type Patience = {
  /** Told why a read waits; null when one was answered. */
  onTrouble: (error: unknown) => void;
  /** Throws while the repository is not there as a whole, as below a mount that is missing. */
  look: () => Promise<void>;
};

/** Waits for a source that is away, as for a disk that is slow: guests read through it. */
export class PatientSource implements BlockSource {
  readonly sizeBytes: number;
  readonly #source: BlockSource;
  readonly #patience: Patience;

  constructor(source: BlockSource, patience: Patience) {
    this.sizeBytes = source.sizeBytes;
    this.#source = source;
    this.#patience = patience;
  }

  read(offset: number, length: number, signal: AbortSignal): Promise<Buffer> {
    return this.#untilThere(signal, () => this.#source.read(offset, length, signal));
  }

  extents(offset: number, length: number, signal: AbortSignal): Promise<SourceExtent[]> {
    return this.#untilThere(signal, () => this.#source.extents(offset, length, signal));
  }

  async #untilThere<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { onTrouble } = this.#patience;
    for (let tries = 0, looked = false; ; tries += 1) {
      try {
        const done = await work();
        onTrouble(null);
        return done;
      } catch (error) {
        if (signal.aborted) throw error;
        const away = await this.#whyAway(error);
        if (away === null) {
          // What was missing may have come back with all the rest.
          if (!isHyperscaleError(error, 'damaged') || looked) throw error;
          looked = true;
          continue;
        }
        looked = false;
        onTrouble(away);
        const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(tries, 8), lastPauseMs);
        await delay(pauseMs, null, { signal });
      }
    }
  }

  /** Null when it is the backup that is wrong. */
  async #whyAway(error: unknown): Promise<unknown> {
    if (isHyperscaleError(error, 'unavailable', 'timeout')) return error;
    if (!isHyperscaleError(error, 'damaged')) return null;
    return await this.#patience.look().then(
      () => null,
      (why: unknown) => why,
    );
  }
}
