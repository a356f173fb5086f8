import type { Consumer } from '../api/service.ts';
import { errorText } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import type { Context } from './context.ts';
import { withDeadline } from './deadline.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Finds what uses a volume on this node and makes it show the new size; again is no error. */
export type ResizeConsumers = (
  volume: VolumeId,
  sizeBytes: number,
  signal: AbortSignal,
) => Promise<Consumer[]>;

/** One attempt, with the wait for a head or proxy that shows the new size. */
const attemptMs = 20_000;
const firstRetryMs = 1_000;
const lastRetryMs = 60_000;

/**
 * Sees to it that whatever uses volumes on this node learns of it when they grow, also what could not
 * be told at once, and what grew while no daemon ran.
 */
export class ConsumerSizes {
  readonly #context: Context;
  readonly #worker: (id: VolumeId) => VolumeWorker;
  /** The size that all consumers of a volume here have. Of volumes that are attached here. */
  readonly #told = new Map<VolumeId, number>();
  readonly #attempts = new Map<VolumeId, Promise<Consumer[]>>();
  readonly #retries = new Map<VolumeId, () => void>();
  /** Attempts in a row that have left somebody with an old size. */
  readonly #failures = new Map<VolumeId, number>();
  #known = false;
  #ended = false;

  constructor(context: Context, worker: (id: VolumeId) => VolumeWorker) {
    this.#context = context;
    this.#worker = worker;
  }

  /** Looks at all volumes; from now on an attachment that is new begins with the right size. */
  begin(volumes: readonly Volume[]): void {
    for (const volume of volumes) this.changed(volume.id, volume);
    this.#known = true;
  }

  end(): void {
    this.#ended = true;
    for (const cancel of this.#retries.values()) cancel();
  }

  /** Call when a record changed; null when it is gone. */
  changed(id: VolumeId, volume: Volume | null): void {
    const { self } = this.#context;
    if (volume === null || attachmentOn(volume, self.node)?.boot !== self.boot) {
      this.#told.delete(id);
      this.#failures.delete(id);
      return;
    }
    if (!this.#told.has(id)) this.#told.set(id, this.#known ? volume.sizeBytes : 0);
    if ((this.#told.get(id) ?? 0) < volume.sizeBytes) this.#start(id);
  }

  /** Tells them now. @returns those that there are; with a problem what could not be told. */
  async tell(id: VolumeId): Promise<Consumer[]> {
    for (
      let before = this.#attempts.get(id);
      before !== undefined;
      before = this.#attempts.get(id)
    ) {
      await before.catch(() => undefined);
    }
    return this.#attempt(id);
  }

  #start(id: VolumeId): void {
    if (this.#ended || this.#attempts.has(id) || this.#retries.has(id)) return;
    this.#attempt(id).catch((error: unknown) => {
      const { log } = this.#context;
      log.info({ volume: id, error: errorText(error) }, 'consumers do not know the new size yet');
    });
  }

  #attempt(id: VolumeId): Promise<Consumer[]> {
    this.#retries.get(id)?.();
    this.#retries.delete(id);
    const attempt = this.#once(id).finally(() => {
      this.#attempts.delete(id);
      this.#again(id);
    });
    this.#attempts.set(id, attempt);
    return attempt;
  }

  async #once(id: VolumeId): Promise<Consumer[]> {
    const { environment, resizeConsumers } = this.#context;
    const worker = this.#worker(id);
    const sizeBytes = worker.volume?.sizeBytes ?? 0;
    if (!this.#told.has(id)) return [];
    this.#failures.set(id, (this.#failures.get(id) ?? 0) + 1);
    const consumers = await withDeadline(environment, attemptMs, async (signal) => {
      await worker.waitUntil(() => worker.shows(sizeBytes), signal);
      return resizeConsumers === undefined ? [] : resizeConsumers(id, sizeBytes, signal);
    });
    if (this.#told.has(id) && consumers.every((c) => c.problem === null)) {
      this.#told.set(id, sizeBytes);
      this.#failures.delete(id);
    }
    return consumers;
  }

  /** Once more after a while, unless all of them have the size that the volume has by now. */
  #again(id: VolumeId): void {
    const told = this.#told.get(id);
    const { volume } = this.#worker(id);
    if (this.#ended || told === undefined || told >= (volume?.sizeBytes ?? 0)) return;
    const failures = this.#failures.get(id) ?? 0;
    const delay = Math.min(firstRetryMs * 2 ** Math.min(failures, 10), lastRetryMs);
    const cancel = this.#context.environment.after(delay, () => {
      this.#retries.delete(id);
      this.#start(id);
    });
    this.#retries.set(id, cancel);
  }
}
