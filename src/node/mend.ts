import type { Manifest } from '../api/service.ts';
import type { Job } from '../cluster/jobs.ts';
import type { LayerKey } from '../engine/engine.ts';
import { chunkHash, rootOf } from '../engine/layer-content.ts';
import { HyperscaleError } from '../errors.ts';
import { markClean } from '../volume/copies.ts';
import { markMergeClean } from '../volume/merge.ts';
import { fenceHere } from './fence-here.ts';
import type { RemotePeer } from './peers.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** One chunk of a peer must arrive in this time. */
const chunkTimeoutMs = 30_000;
/** Hashing a large layer on the other side may take long. */
const manifestTimeoutMs = 600_000;

/**
 * Makes this node's copy of a sealed layer equal to a proven one: compares chunk hashes, fetches
 * what differs, fsyncs, and only then records the copy as clean (rules 5, 12, 13, 16).
 * @returns the bytes that were fetched.
 */
export async function mendCopy(
  worker: VolumeWorker,
  job: Extract<Job, { kind: 'mend' }>,
  signal: AbortSignal,
  progress: (doneBytes: number, totalBytes: number) => void,
): Promise<number> {
  const { engine, content, peers, self } = worker.context;
  const key: LayerKey = { volume: worker.id, layer: job.layer, epoch: job.epoch };
  const source = peers.of(job.from, { timeoutMs: manifestTimeoutMs, signal });
  const wanted = await source.manifest(key);
  checkManifest(wanted, job.root);
  // Rule 13: nothing of an old epoch may land in the file while it is compared, or afterwards.
  if (!job.ofMerge) await fenceHere(worker, job.epoch + 1);
  if (!(await engine.layers.exists(key))) await engine.layers.createEmpty(key, sizeOf(worker, job));
  const mine = await content.hash(key, signal);
  if (mine.lengthBytes !== wanted.lengthBytes) {
    throw new HyperscaleError(
      'engine',
      `the container of layer ${job.layer} has ${mine.lengthBytes} bytes here and ${wanted.lengthBytes} on ${job.from}`,
    );
  }
  const differing = wanted.chunks.flatMap((hash, i) => (hash === mine.chunks[i] ? [] : [i]));
  const fetched = await fetchChunks(
    worker,
    key,
    wanted,
    differing,
    peers.of(job.from, { timeoutMs: chunkTimeoutMs, signal }),
    signal,
    progress,
  );
  await content.keep(key, { ...wanted, allocatedBytes: wanted.allocatedBytes });
  await worker.change((v) =>
    job.ofMerge ? markMergeClean(v, job.layer, self.node) : markClean(v, job.layer, self),
  );
  return fetched;
}

/** The container is as long as the volume was when the layer was made. */
function sizeOf(worker: VolumeWorker, job: { layer: string; ofMerge: boolean }): number {
  const volume = worker.volume;
  const id = job.ofMerge ? volume?.merge?.layers.at(-1) : job.layer;
  const layer = volume?.chain.find((l) => l.id === id);
  if (layer === undefined) {
    throw new HyperscaleError('conflict', `layer ${job.layer} is not part of the volume any more`);
  }
  return layer.sizeBytes;
}

function checkManifest(manifest: Manifest, root: string): void {
  const computed = rootOf(manifest.chunks, manifest.lengthBytes);
  if (computed !== root || manifest.root !== root) {
    throw new HyperscaleError(
      'engine',
      `the manifest of layer ${manifest.layer} is not the one recorded at its seal`,
      { hint: 'The copy it came from has changed since; look at that disk.' },
    );
  }
}

async function fetchChunks(
  worker: VolumeWorker,
  key: LayerKey,
  wanted: Manifest,
  differing: readonly number[],
  source: RemotePeer,
  signal: AbortSignal,
  progress: (doneBytes: number, totalBytes: number) => void,
): Promise<number> {
  const size = wanted.chunkBytes;
  const mending = await worker.context.content.mend(key);
  let fetched = 0;
  try {
    for (const [done, index] of differing.entries()) {
      signal.throwIfAborted();
      const expected = wanted.chunks[index] ?? null;
      let chunk: Buffer | null = null;
      if (expected !== null) {
        chunk = await source.readLayer({ ...key, offset: index * size, length: size });
        if (chunkHash(chunk) !== expected) {
          throw new HyperscaleError(
            'engine',
            `chunk ${index} of layer ${key.layer} does not match its manifest on the source`,
            { hint: 'The source copy is damaged; another one is needed.' },
          );
        }
        fetched += chunk.length;
      }
      await mending.write(index, chunk);
      progress((done + 1) * size, differing.length * size);
    }
    await mending.finish();
    return fetched;
  } catch (error) {
    await mending.abandon();
    throw error;
  }
}
