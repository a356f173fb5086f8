import type { LayerKey } from '../engine/engine.ts';
import { errorText, isHyperscaleError } from '../errors.ts';
import { PoolRoom } from '../image/room.ts';
import { workingOn } from '../image/working.ts';
import { sleep } from '../node/scrub-pace.ts';
import { replicaOn, sealedLayer } from '../volume/queries.ts';
import { completeRestore, restoringLayer, serveRestore } from '../volume/restore.ts';
import type { StreamParts, StreamSource } from './stream-parts.ts';

const firstPauseMs = 1_000;
const lastPauseMs = 30_000;
/** What is lost is not read again and again. */
const damagedPauseMs = 600_000;
const lookMs = 1_000;

/** Serves one layer from its backup on this node, and copies it into the pool, until that is done. */
export class StreamCopy {
  readonly #parts: StreamParts;
  readonly #layer: LayerKey;
  readonly #abort = new AbortController();
  readonly done: Promise<void>;

  constructor(parts: StreamParts, layer: LayerKey) {
    this.#parts = parts;
    this.#layer = layer;
    this.done = this.#run();
  }

  /** Stops to copy. What serves the backup serves on. */
  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { log } = this.#parts.agent.context;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        await this.#once(signal);
        return;
      } catch (error) {
        if (signal.aborted || isHyperscaleError(error, 'not-found')) return;
        const { volume } = this.#layer;
        log.warn({ volume, error: errorText(error) }, 'a restore does not go on');
        await this.#tell(error).catch(() => undefined); // the store is away, or it was deleted
        const pause = Math.min(firstPauseMs * 2 ** Math.min(failures, 8), lastPauseMs);
        const damaged = isHyperscaleError(error, 'damaged');
        await this.#pause(damaged ? damagedPauseMs : pause, signal);
      }
    }
  }

  async #once(signal: AbortSignal): Promise<void> {
    const { agent } = this.#parts;
    const { content, engine, environment, events } = agent.context;
    const worker = agent.worker(this.#layer.volume);
    const source = await this.#source(signal);
    await this.#tell(null, source);
    const { sizeBytes } = source.serves;
    const watching = new AbortController();
    const died = new AbortController();
    const watched = this.#watch(source, watching.signal, () => died.abort());
    try {
      const volume = await workingOn(agent, 'restore')(this.#layer, async (work, deleted) => {
        work.totalBytes = sizeBytes;
        const either = AbortSignal.any([signal, deleted, died.signal]);
        const room = new PoolRoom(
          () => engine.layers.space(),
          (milliseconds, callback) => environment.after(milliseconds, callback),
        );
        const { bytesPerSecond } = this.#parts;
        const from = { path: source.socket, format: 'nbd', bytesPerSecond } as const;
        await room.during(either, (still) =>
          engine.layers.importFile(this.#layer, from, sizeBytes, still, (part) => {
            work.doneBytes = Math.round(part * sizeBytes);
          }),
        );
        const { root, allocatedBytes } = await content.manifest(this.#layer, either);
        const proof = { root, bytes: allocatedBytes };
        const { self } = agent.context;
        return await worker.change((v) => completeRestore(v, this.#layer.layer, self, proof));
      });
      source.retire();
      await worker.sidecar.keep();
      events.emit('volume.restored', `All of volume ${volume.name} is here, restored.`, {
        volume: volume.id,
        values: { ...volume.restoredFrom, sizeBytes },
      });
    } catch (error) {
      // It may have been put in place when the record said already that it is not to be here.
      if (this.#isUnwanted()) await engine.layers.remove(this.#layer);
      const lost = isHyperscaleError(error, 'bad-input', 'engine') ? source.problem : null;
      throw lost ?? error;
    } finally {
      watching.abort();
      await watched;
    }
  }

  /** The record says what is wrong with the target while that is so. */
  async #watch(source: StreamSource, over: AbortSignal, died: () => void): Promise<void> {
    while (!over.aborted) {
      await this.#pause(lookMs, over);
      if (over.aborted) return;
      if (source.isGone) died();
      await this.#tell(source.problem, source).catch(() => undefined); // told with the next look
    }
  }

  async #source(signal: AbortSignal): Promise<StreamSource> {
    const { agent, sources } = this.#parts;
    const { layer, volume } = this.#layer;
    const running = sources.running(layer);
    if (running !== null) return running;
    const record = agent.worker(volume).volume;
    const { backup = '', target = '' } = record?.restoredFrom ?? {};
    const port = (record && restoringLayer(record)?.restoring?.port) ?? null;
    return await sources.start({ target, wish: { backup }, layer, port }, signal);
  }

  /** Until it is over, or stopped. */
  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { environment } = this.#parts.agent.context;
    await sleep(environment, milliseconds, signal).catch(() => undefined);
  }

  /** Notes in the record where the backup is served, and what is wrong. */
  async #tell(problem: unknown, source?: StreamSource): Promise<void> {
    const { agent } = this.#parts;
    const { layer, volume } = this.#layer;
    const text = problem === null ? null : errorText(problem);
    await agent.worker(volume).change((v) => {
      const port = source?.serves.port ?? restoringLayer(v)?.restoring?.port ?? null;
      return serveRestore(v, layer, agent.context.self, { port, problem: text });
    });
  }

  #isUnwanted(): boolean {
    const { self, store } = this.#parts.agent.context;
    const volume = store.volume(this.#layer.volume)?.value;
    const layer = volume === undefined ? undefined : sealedLayer(volume, this.#layer.layer);
    return layer === undefined || replicaOn(layer, self.node) === undefined;
  }
}
