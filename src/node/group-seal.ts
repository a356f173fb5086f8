import { HyperscaleError } from '../errors.ts';
import type { addSnapshot } from '../volume/snapshots.ts';
import type { Environment } from './context.ts';

/** A snapshot as it is to be recorded. */
export type NewSnapshot = Parameters<typeof addSnapshot>[1];

/** Until then the others must be ready; meanwhile the old head serves. */
const readyTimeoutMs = 10_000;
/** Longer than this no writes are held for the others. */
export const longestHoldMs = 2_000;

/**
 * The seal of one volume of several that are to be sealed at one instant. It stops twice: when
 * everything is ready for the next head, and when the old head has ended, so that writes are held.
 * There is an instant when the writes of all are held; what each acknowledged before is in its
 * snapshot, and what it acknowledges later is not. Who asks and is not heard of again delays writes by
 * no more than the longest hold.
 */
export class GroupSeal {
  readonly group: string;
  readonly snapshot: NewSnapshot;
  readonly #environment: Pick<Environment, 'after'>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #go = Promise.withResolvers<boolean>();
  readonly #held = Promise.withResolvers<void>();
  readonly #keep = Promise.withResolvers<boolean>();
  readonly #done = Promise.withResolvers<boolean>();

  constructor(group: string, snapshot: NewSnapshot, environment: Pick<Environment, 'after'>) {
    this.group = group;
    this.snapshot = snapshot;
    this.#environment = environment;
    for (const step of [this.#ready, this.#held, this.#done]) step.promise.catch(() => undefined);
  }

  /** Told by the roll before it ends the old head; resolves when it may. */
  async ready(): Promise<void> {
    this.#ready.resolve();
    await this.#within(this.#go.promise, readyTimeoutMs);
  }

  /** Told by the roll when no write is acknowledged any more; true: the snapshot is to be kept. */
  async held(): Promise<boolean> {
    this.#held.resolve();
    return this.#within(this.#keep.promise, longestHoldMs);
  }

  /** Told by the roll when it is over; `kept`: the snapshot is in the record. */
  done(kept: boolean): void {
    this.#done.resolve(kept);
    this.fail(new HyperscaleError('conflict', 'the volume was sealed without waiting'));
  }

  /** Told when there is no roll; nobody waits for it any more. */
  fail(error: unknown): void {
    for (const step of [this.#ready, this.#held, this.#done]) step.reject(error);
  }

  /** Resolves when the roll is ready. */
  untilReady(): Promise<void> {
    return this.#ready.promise;
  }

  /** Has the old head ended; resolves when writes are held. */
  async hold(): Promise<void> {
    this.#go.resolve(true);
    await this.#held.promise;
  }

  /** Lets writes go on. @returns whether the snapshot was kept. */
  async finish(keep: boolean): Promise<boolean> {
    this.#keep.resolve(keep);
    this.#go.resolve(false);
    return this.#done.promise;
  }

  #within(told: Promise<boolean>, milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#environment.after(milliseconds, () => resolve(false));
      told
        .then((value) => {
          cancel();
          resolve(value);
        })
        .catch(() => resolve(false));
    });
  }
}
