import type { Work } from '../api/service.ts';
import { compactStep } from '../cluster/compact.ts';
import { coordinatorOf } from '../cluster/coordinator.ts';
import { flattenStep } from '../cluster/flatten.ts';
import { isLeisurely, type Job, jobsFor } from '../cluster/jobs.ts';
import { mergeStep } from '../cluster/merge.ts';
import { repairStep } from '../cluster/repair.ts';
import { sharingStep } from '../cluster/sharing.ts';
import { damageStep } from '../cluster/verify-damage.ts';
import type { Progress } from '../engine/layer-content.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { Versioned } from '../store/store.ts';
import { recordManifest } from '../volume/copies.ts';
import { collectGarbage, isGone } from '../volume/delete.ts';
import { assertStep } from '../volume/invariants.ts';
import { type Dependant, dependantsOf, goesOnFrom, layersBelow } from '../volume/lineage.ts';
import { clonesOf } from '../volume/marks.ts';
import { replicaOn } from '../volume/queries.ts';
import type { SealedLayer, Volume } from '../volume/types.ts';
import { buildMerge } from './build-merge.ts';
import { syncExports } from './exports.ts';
import { failureLevel } from './failure-level.ts';
import { fenceHere } from './fence-here.ts';
import type { Leisure } from './leisure.ts';
import { mendCopy } from './mend.ts';
import { paced } from './scrub-pace.ts';
import { SharedReaders } from './shared-readers.ts';
import { ViewKeeper } from './view-keeper.ts';
import type { VolumeWorker } from './volume-worker.ts';
import type { WorkList } from './work-list.ts';

const firstRetryMs = 500;
const lastRetryMs = 10_000;
const unexportTimeoutMs = 5_000;
/** How often heads of clones are asked whether they still read what waits to be deleted. */
const heldLookMs = 5_000;

export type BackgroundOptions = {
  work: WorkList;
  /** Runs jobs of all volumes of this node, a few at a time. */
  limit: <T>(job: () => Promise<T>) => Promise<T>;
  givenUp: () => ReadonlySet<string>;
  workerOf: (volume: string) => VolumeWorker;
  /** Whose turn it is with what can wait. */
  leisure: Leisure;
};

/** Proves, mends, copies, merges and deletes layers of one volume, one job at a time. */
export class Background {
  readonly #worker: VolumeWorker;
  readonly #options: BackgroundOptions;
  readonly #abort = new AbortController();
  #running = false;
  #again = false;
  #failures = 0;
  #cancelLook: () => void = () => undefined;
  readonly #readers: SharedReaders;
  readonly #view: ViewKeeper;

  constructor(worker: VolumeWorker, options: BackgroundOptions) {
    this.#worker = worker;
    this.#readers = new SharedReaders(worker.context);
    this.#options = options;
    this.#view = new ViewKeeper(worker, () => this.kick());
  }

  kick(): void {
    if (this.#abort.signal.aborted) return;
    this.#again = true;
    if (!this.#running) this.#run();
  }

  end(): void {
    this.#cancelLook();
    this.#view.end();
    this.#abort.abort();
  }

  #run(): void {
    this.#running = true;
    const loop = async () => {
      while (this.#again && !this.#abort.signal.aborted) {
        this.#again = false;
        await this.#once();
      }
    };
    loop()
      .catch((error: unknown) => {
        const { log } = this.#worker.context;
        log.error({ volume: this.#worker.id, error: errorText(error) }, 'background work failed');
      })
      .finally(() => {
        this.#running = false;
        // Kicked between the last look and here.
        if (this.#again && !this.#abort.signal.aborted) this.#run();
      });
  }

  async #once(): Promise<void> {
    const { context, id } = this.#worker;
    if (context.store.quarantine() !== null) return;
    try {
      const volume = this.#worker.volume;
      if (volume === undefined) return;
      if (await this.#removeWhenGone()) return;
      if (await this.#view.tidy(this.#options.givenUp())) this.#again = true;
      const dependants = this.#dependants(volume);
      const held = await this.#readers.held(volume, notOffered(volume, context.self.node));
      await syncExports(this.#worker, volume, dependants, held);
      const { leisure } = this.#options;
      const job = this.#nextJob(volume, held);
      if (job !== undefined) {
        // Before a file goes because of a record, that record is kept here.
        await this.#worker.sidecar.keep();
        if (!this.#isLeisurely(job)) await this.#options.limit(() => this.#perform(job));
        else if (leisure.free) await leisure.run(() => this.#perform(job));
        // Else it is woken when the turn is free.
        else return;
        this.#again = true;
      } else if (await this.#coordinate()) {
        this.#again = true;
      } else if (held.size > 0) {
        // Whether a head still reads them is not always told by a record.
        this.#cancelLook();
        this.#cancelLook = context.environment.after(heldLookMs, () => this.kick());
      }
      this.#failures = 0;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#failures += 1;
      const delay = Math.min(firstRetryMs * 2 ** Math.min(this.#failures - 1, 8), lastRetryMs);
      const level = failureLevel(error, 'conflict', 'not-found');
      context.log[level]({ volume: id, error: errorText(error) }, 'background job failed');
      context.environment.after(delay, () => this.kick());
    }
  }

  /** The most urgent job; one that can wait only when there is no other, and its turn is free. */
  #nextJob(volume: Volume, held: ReadonlySet<string>): Job | undefined {
    const { self, nodes } = this.#worker.context;
    const jobs = jobsFor(volume, self, nodes(), held);
    const urgent = jobs.find((job) => !this.#isLeisurely(job));
    return urgent ?? (this.#options.leisure.free ? jobs[0] : undefined);
  }

  #isLeisurely(job: Job): boolean {
    const { context, volume } = this.#worker;
    return (
      context.localCopyBytesPerSecond !== undefined &&
      volume !== undefined &&
      isLeisurely(volume, job, context.nodes())
    );
  }

  /** Slows a copy down that can wait, and ends it when there is something else to do. */
  #paced(job: Job, shown: Progress, signal: AbortSignal): Progress {
    const { context } = this.#worker;
    const rate = context.localCopyBytesPerSecond;
    if (rate === undefined || !this.#isLeisurely(job)) return shown;
    const pace = paced(context.environment, rate, () => false, signal);
    return async (done, total) => {
      await shown(done, total);
      const { volume } = this.#worker;
      const jobs = volume === undefined ? [] : jobsFor(volume, context.self, context.nodes());
      if (jobs.some((other) => !this.#isLeisurely(other))) {
        throw new HyperscaleError('conflict', 'a copy that can wait gives way; it goes on later');
      }
      await pace(done, total);
    };
  }

  /** The last holder of a deleted volume removes its tombstone. */
  async #removeWhenGone(): Promise<boolean> {
    const { store } = this.#worker.context;
    const record = store.volume(this.#worker.id);
    if (record === undefined || !isGone(record.value)) return false;
    await store.remove(record);
    return true;
  }

  /** Plans copies and merges, if this node is the one that plans. */
  async #coordinate(): Promise<boolean> {
    const { context, id } = this.#worker;
    const record = context.store.volume(id);
    if (record === undefined || !context.leasesKnown()) return false;
    const volume = record.value;
    const nodes = context.nodes();
    if (coordinatorOf(volume, nodes) !== context.self.node) return false;
    const dependants = this.#dependants(volume);
    const newId = context.environment.randomId;
    const tidying = sharingStep(volume, await this.#goneClones(volume));
    const step =
      tidying ??
      damageStep(volume, nodes) ??
      repairStep(volume, { nodes, givenUp: this.#options.givenUp(), dependants }) ??
      flattenStep(volume, this.#below(volume), { nodes, newId }) ??
      compactStep(volume, { nodes, newId }) ??
      mergeStep(volume, { nodes, newId });
    if (step === null) return false;
    if (tidying === null) await this.#worker.change(step.apply);
    else if (!(await this.#changeAt(record, step.apply))) return true;
    context.events.emit('volume.repair', `Volume ${volume.name}: ${step.text}.`, { volume: id });
    return true;
  }

  /** Only while the record is this one: of a later one other clones may go on, with the same ids. */
  async #changeAt(record: Versioned<Volume>, step: (volume: Volume) => Volume): Promise<boolean> {
    const { store, environment } = this.#worker.context;
    const next = step(record.value);
    assertStep(record.value, next);
    const operation = environment.randomId();
    return (await store.swap(record, { ...next, operation })) !== undefined;
  }

  #dependants(volume: Volume): Dependant[] {
    const { store } = this.#worker.context;
    return dependantsOf(volume, (id) => store.volume(id)?.value);
  }

  #below(volume: Volume): SealedLayer[] {
    const { store } = this.#worker.context;
    const below = layersBelow(volume, (id) => store.volume(id)?.value) ?? [];
    return below.map(({ layer }) => layer);
  }

  /** Clones that go on from this record no longer, by the store itself: the cache may lag. */
  async #goneClones(volume: Volume): Promise<string[]> {
    const { store } = this.#worker.context;
    const gone: string[] = [];
    for (const clone of clonesOf(volume)) {
      if (goesOnFrom(store.volume(clone.volume)?.value, volume.id)) continue;
      const now = await store.readVolume(clone.volume);
      if (!goesOnFrom(now?.value, volume.id)) gone.push(clone.volume);
    }
    return gone;
  }

  async #perform(job: Job): Promise<void> {
    const { context, id } = this.#worker;
    const { signal } = this.#abort;
    const entry: Work = {
      node: context.self.node,
      volume: id,
      kind: job.kind,
      layer: layerOf(job),
      from: job.kind === 'mend' ? job.from : null,
      doneBytes: 0,
      totalBytes: null,
      startedAt: context.environment.now(),
    };
    await this.#options.work.during(entry, async (shown) => {
      const progress = (done: number, total: number) => {
        shown.doneBytes = done;
        shown.totalBytes = total;
      };
      switch (job.kind) {
        case 'manifest': {
          const key = { volume: id, layer: job.layer, epoch: job.epoch };
          const made = await context.content.manifest(key, signal, progress);
          const proof = { root: made.root, bytes: made.allocatedBytes };
          await this.#worker.change((v) => recordManifest(v, job.layer, proof));
          return;
        }
        case 'mend': {
          const pace = this.#paced(job, progress, signal);
          const fetched = await mendCopy(this.#worker, job, signal, pace);
          const name = this.#worker.volume?.name ?? id;
          context.events.emit(
            'layer.mended',
            `Layer ${job.epoch} of ${name} on ${context.self.node} equals the copy on ${job.from}; ${fetched} bytes were fetched.`,
            { volume: id, values: { layer: job.layer, from: job.from, bytes: fetched } },
          );
          return;
        }
        case 'merge':
          return this.#merge(job.into, signal, progress);
        case 'delete':
          return this.#delete(job.layers);
      }
    });
  }

  /** Builds a merge; ends it when the record does not want it any more. */
  async #merge(
    into: string,
    signal: AbortSignal,
    progress: (done: number, total: number) => void,
  ): Promise<void> {
    const worker = this.#worker;
    const givenUp = new AbortController();
    const shown = (done: number, total: number) => {
      progress(done, total);
      if (worker.volume?.merge?.into !== into) givenUp.abort();
    };
    const either = AbortSignal.any([signal, givenUp.signal]);
    try {
      await buildMerge(worker, into, this.#options.workerOf, either, shown);
    } catch (error) {
      if (!givenUp.signal.aborted) throw error;
      throw new HyperscaleError('conflict', `the merge into ${into} was given up`, {
        cause: error,
      });
    }
  }

  /** Acknowledged writes that an operator went on without are put aside, never deleted. */
  #holdsGivenUp(layer: string): boolean {
    return this.#worker.volume?.garbage.find((g) => g.layer === layer)?.keep === true;
  }

  async #delete(layers: readonly { layer: string; epoch: number }[]): Promise<void> {
    const { context, id } = this.#worker;
    for (const { layer, epoch } of layers) {
      const key = { volume: id, layer, epoch };
      if (this.#holdsGivenUp(layer)) {
        await context.engine.replicas.unexport(layer, unexportTimeoutMs);
        // Rule 13: the head that wrote it may still run here.
        await fenceHere(this.#worker, epoch + 1);
        await context.engine.layers.quarantine(context.engine.layers.pathInPool(key));
      }
      // In turn with `prepareLayer`, or that could make the file when it was removed already.
      await this.#worker.gate.run(async () => {
        await context.engine.replicas.unexport(layer, unexportTimeoutMs);
        await context.content.forget(key);
        await context.engine.layers.remove(key);
      });
    }
    const ids = layers.map((l) => l.layer);
    await this.#worker.change((v) => collectGarbage(v, context.self.node, ids));
  }
}

/** Layers whose copies here are not to be read, and are to be changed or deleted. */
function notOffered(volume: Volume, node: string): string[] {
  const deleted = volume.garbage.filter((g) => g.holders.some((h) => h.node === node));
  const unclean = volume.chain.filter((l) => {
    const mine = replicaOn(l, node);
    return mine !== undefined && mine.state !== 'clean';
  });
  return [...deleted.map((g) => g.layer), ...unclean.map((l) => l.id)];
}

/** The layer that a job is shown under: of several to be deleted, the first. */
function layerOf(job: Job): string {
  if (job.kind === 'merge') return job.into;
  return job.kind === 'delete' ? (job.layers[0]?.layer ?? '') : job.layer;
}
