import type { Manifest } from '../api/service.ts';
import type { Job } from '../cluster/jobs.ts';
import type { LayerKey } from '../engine/engine.ts';
import { chunkHash, type Progress, rootOf } from '../engine/layer-content.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { markClean } from '../volume/copies.ts';
import { rangesOf } from '../volume/damage.ts';
import { markMergeClean } from '../volume/merge.ts';
import { fenceHere } from './fence-here.ts';
import type { RemotePeer } from './peers.ts';
import { damageFound } from './verify-damage.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** One chunk of a peer must arrive in this time. */
const chunkTimeoutMs = 30_000;
/** Hashing a large layer on the other side may take long. */
const manifestTimeoutMs = 600_000;
/** Peers that read the copy have moved away; their last requests are over in this time. */
const unexportTimeoutMs = 5_000;

type MendJob = Extract<Job, { kind: 'mend' }>;

/**
 * Makes this node's copy of a sealed layer equal to a proven one: compares chunk hashes, fetches
 * what differs, fsyncs, and only then records the copy as clean (rules 5, 12, 13, 16). A chunk that
 * is not right on one source is looked for on the others.
 * @returns the bytes that were fetched.
 */
export async function mendCopy(
  worker: VolumeWorker,
  job: MendJob,
  signal: AbortSignal,
  progress: Progress,
): Promise<number> {
  const { engine, content, self } = worker.context;
  const key: LayerKey = { volume: worker.id, layer: job.layer, epoch: job.epoch };
  const wanted = await provenManifest(worker, job, key, signal);
  // Rule 13: nothing of an old epoch may land in the file while it is compared, or afterwards.
  if (!job.ofMerge) await fenceHere(worker, job.epoch + 1);
  await closeHere(worker, key);
  if (!(await engine.layers.exists(key))) await engine.layers.createEmpty(key, sizeOf(worker, job));
  let mine = await content.hash(key, signal);
  if (mine.lengthBytes !== wanted.lengthBytes) {
    // It was cut or is no container at all: nothing of it can be kept.
    await engine.layers.remove(key);
    await engine.layers.createEmpty(key, sizeOf(worker, job));
    mine = await content.hash(key, signal);
  }
  if (mine.lengthBytes !== wanted.lengthBytes) {
    throw new HyperscaleError(
      'engine',
      `the container of layer ${job.layer} has ${mine.lengthBytes} bytes here and ${wanted.lengthBytes} on ${job.from}`,
    );
  }
  const differing = wanted.chunks.flatMap((hash, i) => (hash === mine.chunks[i] ? [] : [i]));
  const fetched = await fetchChunks(worker, job, key, wanted, differing, signal, progress);
  await worker.change((v) =>
    job.ofMerge ? markMergeClean(v, job.layer, self.node) : markClean(v, job.layer, self),
  );
  return fetched;
}

/** Nothing here may have the file open while it is written to; no head needs it (`mayBeRead`). */
async function closeHere(worker: VolumeWorker, { layer }: LayerKey): Promise<void> {
  const { replicas } = worker.context.engine;
  await worker.gate.run(async () => {
    const { head } = worker;
    if (head?.state.sealed.some((s) => s.layer === layer && s.from === null) === true) {
      throw new HyperscaleError('in-use', `the head here reads layer ${layer}`);
    }
    if (replicas.exports().some((e) => e.key.layer === layer)) {
      await replicas.unexport(layer, unexportTimeoutMs);
    }
  });
}

/** The container is as long as the volume was when the layer was made. */
function sizeOf(worker: VolumeWorker, job: { layer: string; ofMerge: boolean }): number {
  const volume = worker.volume;
  if (job.ofMerge && volume?.merge?.below === true && volume.parent) return volume.parent.sizeBytes;
  const id = job.ofMerge ? volume?.merge?.layers.at(-1) : job.layer;
  const layer = volume?.chain.find((l) => l.id === id);
  if (layer === undefined) {
    throw new HyperscaleError('conflict', `layer ${job.layer} is not part of the volume any more`);
  }
  return layer.sizeBytes;
}

/** The manifest that was recorded at the seal, from the first node that still has it. */
async function provenManifest(
  worker: VolumeWorker,
  job: MendJob,
  key: LayerKey,
  signal: AbortSignal,
): Promise<Manifest> {
  const failures: string[] = [];
  const { content, peers, self } = worker.context;
  // This node's own, last: what was kept of it is as good when it fits the record.
  for (const node of [job.from, ...job.others, self.node]) {
    try {
      const options = { timeoutMs: manifestTimeoutMs, signal };
      const manifest =
        node === self.node
          ? await content.manifest(key, signal)
          : await peers.of(node, options).manifest(key);
      checkManifest(manifest, job.root);
      return manifest;
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${node}: ${errorText(error)}`);
    }
  }
  throw new HyperscaleError('unavailable', `no source has the manifest: ${failures.join('; ')}`, {
    values: { volume: worker.id, layer: job.layer },
  });
}

function checkManifest(manifest: Manifest, root: string): void {
  const computed = rootOf(manifest.chunks, manifest.lengthBytes);
  if (computed !== root || manifest.root !== root) {
    throw new HyperscaleError(
      'damaged',
      `the manifest of layer ${manifest.layer} is not the one recorded at its seal`,
      { hint: 'The copy it came from has changed since; look at that disk.' },
    );
  }
}

async function fetchChunks(
  worker: VolumeWorker,
  job: MendJob,
  key: LayerKey,
  wanted: Manifest,
  differing: readonly number[],
  signal: AbortSignal,
  progress: Progress,
): Promise<number> {
  const size = wanted.chunkBytes;
  const sources = new ChunkSources(worker, job, key, wanted, signal);
  const { content } = worker.context;
  const mending = await content.mend(key);
  // What the layer is to hold is known whatever becomes of this mend: no other node may have it.
  await content.keep(key, wanted);
  let fetched = 0;
  try {
    for (const [done, index] of differing.entries()) {
      signal.throwIfAborted();
      const chunk = wanted.chunks[index] === null ? null : await sources.read(index);
      // What is right nowhere stays as it is; the rest is mended all the same.
      if (chunk !== 'nowhere') await mending.write(index, chunk);
      fetched += chunk === 'nowhere' || chunk === null ? 0 : chunk.length;
      await progress((done + 1) * size, differing.length * size);
    }
    await mending.finish();
  } catch (error) {
    await mending.abandon();
    throw error;
  }
  await sources.report();
  return fetched;
}

/** Reads chunks from the first source that has them right, and notes where they are not. */
class ChunkSources {
  readonly #worker: VolumeWorker;
  readonly #job: MendJob;
  readonly #key: LayerKey;
  readonly #wanted: Manifest;
  readonly #peers: { node: string; peer: RemotePeer }[];
  readonly #wrong = new Map<string, number[]>();
  readonly #nowhere: number[] = [];

  constructor(
    worker: VolumeWorker,
    job: MendJob,
    key: LayerKey,
    wanted: Manifest,
    signal: AbortSignal,
  ) {
    this.#worker = worker;
    this.#job = job;
    this.#key = key;
    this.#wanted = wanted;
    const options = { timeoutMs: chunkTimeoutMs, signal };
    this.#peers = [job.from, ...job.others].map((node) => ({
      node,
      peer: worker.context.peers.of(node, options),
    }));
  }

  async read(index: number): Promise<Buffer | 'nowhere'> {
    const { chunkBytes, chunks } = this.#wanted;
    const part = { offset: index * chunkBytes, length: chunkBytes };
    let failure: Error | undefined;
    for (const { node, peer } of this.#peers) {
      try {
        const chunk = await peer.readLayer({ ...this.#key, ...part });
        if (chunkHash(chunk) === chunks[index]) return chunk;
        this.#wrong.set(node, [...(this.#wrong.get(node) ?? []), index]);
      } catch (error) {
        failure = error instanceof Error ? error : new Error(errorText(error));
      }
    }
    // A source that did not answer may have it.
    if (failure !== undefined) throw failure;
    this.#nowhere.push(index);
    return 'nowhere';
  }

  /** Records the damage that was met. @throws `damaged` when the copy could not be completed. */
  async report(): Promise<void> {
    const { chunkBytes, lengthBytes } = this.#wanted;
    const ranges = (chunks: number[]) => rangesOf(chunks, chunkBytes, lengthBytes);
    const { layer, ofMerge, epoch } = this.#job;
    for (const [node, chunks] of this.#wrong) {
      await damageFound(this.#worker, { layer, node, ranges: ranges(chunks), by: 'a mend' });
    }
    if (this.#nowhere.length === 0) return;
    const { self } = this.#worker.context;
    if (!ofMerge) {
      const mine = { layer, node: self.node, ranges: ranges(this.#nowhere), by: 'a mend' };
      await damageFound(this.#worker, mine);
    }
    throw new HyperscaleError(
      'damaged',
      `${this.#nowhere.length} chunks of layer ${epoch} are right on none of its sources`,
      { hint: 'hscli volume verify tells which parts, and what to do.' },
    );
  }
}
