import type { CopyCheck, LayerRequest, Manifest, Work } from '../api/service.ts';
import { hasCode } from '../engine/durable.ts';
import { type Progress, rootOf } from '../engine/layer-content.ts';
import { containerBytes } from '../engine/layer-files.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { differences } from '../volume/damage.ts';
import { replicaOn, sealedLayer } from '../volume/queries.ts';
import type { ByteRange, SealedLayer } from '../volume/types.ts';
import { layerKey } from './layer-key.ts';
import { damageFound } from './verify-damage.ts';
import type { VolumeWorker } from './volume-worker.ts';
import type { WorkList } from './work-list.ts';

/** One chunk list from a peer must arrive in this time. */
const manifestTimeoutMs = 600_000;

/**
 * Reads and hashes this node's copy of a sealed layer anew, whatever was kept of an earlier time.
 * A file that is not there is an answer, not an error.
 */
export async function hashOwnCopy(
  worker: VolumeWorker,
  layer: SealedLayer,
  work: WorkList,
  signal: AbortSignal,
  pace: Progress = () => undefined,
): Promise<Manifest | null> {
  const { content, self, environment } = worker.context;
  const entry: Work = {
    node: self.node,
    volume: worker.id,
    kind: 'verify',
    layer: layer.id,
    from: null,
    doneBytes: 0,
    totalBytes: null,
    startedAt: environment.now(),
  };
  return work.during(entry, async (shown) => {
    try {
      const key = layerKey(worker.id, layer);
      const found = await content.hash(key, signal, (done, total) => {
        shown.doneBytes = done;
        shown.totalBytes = total;
        return pace(done, total);
      });
      // Kept on every node, so that damage can be told by chunks whichever of them is lost.
      if (found.root === layer.manifest) await content.keep(key, found);
      return found;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return null;
      if (error instanceof HyperscaleError || signal.aborted) throw error;
      // A copy whose file cannot even be opened or looked at is as good as one that cannot be read.
      throw new HyperscaleError('damaged', errorText(error), { cause: error });
    }
  });
}

/** What a peer is told about this node's copy; chunk hashes only when they are not the expected ones. */
export async function verifyOwnCopy(
  worker: VolumeWorker,
  request: LayerRequest & { root: string | null },
  work: WorkList,
  signal: AbortSignal,
): Promise<CopyCheck> {
  const { self } = worker.context;
  const layer = worker.volume && sealedLayer(worker.volume, request.layer);
  const replica = layer && replicaOn(layer, self.node);
  if (layer === undefined || replica === undefined || replica.pool !== self.pool) {
    throw new HyperscaleError('conflict', `${self.node} holds no copy of ${request.layer}`);
  }
  const found = await hashOwnCopy(worker, layer, work, signal);
  if (found === null) return { state: 'missing' };
  const { root, lengthBytes, allocatedBytes } = found;
  const chunks = root === request.root ? null : found.chunks;
  return { state: 'read', root, lengthBytes, allocatedBytes, chunks };
}

/**
 * The parts of this node's copy that are not what was sealed; none when it is as it should be. When
 * no chunk hashes are to be had that match the record, the whole file is in doubt.
 */
export async function damagedParts(
  worker: VolumeWorker,
  layer: SealedLayer,
  found: Manifest | null,
  signal: AbortSignal,
): Promise<ByteRange[]> {
  const all = [{ offset: 0, length: containerBytes(layer.sizeBytes) }];
  if (found === null) return all;
  if (found.root === layer.manifest) return [];
  const wanted = await recordedManifest(worker, layer, signal);
  return wanted === null ? all : differences(wanted, found);
}

/** The chunk hashes whose root is in the record, from this node or another one; null: from none. */
export async function recordedManifest(
  worker: VolumeWorker,
  layer: SealedLayer,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const { context } = worker;
  const key = layerKey(worker.id, layer);
  const mine = async () => context.content.manifest(key, signal);
  const sources = layer.replicas
    .filter((r) => r.node !== context.self.node && r.state === 'clean')
    .map(
      ({ node }) =>
        () =>
          context.peers.of(node, { timeoutMs: manifestTimeoutMs, signal }).manifest(key),
    );
  for (const source of [mine, ...sources]) {
    // Who cannot tell is passed over: its copy may be the damaged one.
    const manifest = await source().catch(() => null);
    signal.throwIfAborted();
    if (manifest === null) continue;
    if (rootOf(manifest.chunks, manifest.lengthBytes) === layer.manifest) return manifest;
  }
  return null;
}

/**
 * Compares this node's copy with the record before it is used for something that cannot be taken
 * back. @throws `damaged`, after it was recorded.
 */
export async function checkOwnCopy(
  worker: VolumeWorker,
  layer: SealedLayer,
  signal: AbortSignal,
  by: string,
): Promise<void> {
  const { content, self } = worker.context;
  const found = await content.hash(layerKey(worker.id, layer), signal);
  const ranges = await damagedParts(worker, layer, found, signal);
  if (ranges.length === 0) return;
  await damageFound(worker, { layer: layer.id, node: self.node, ranges, by });
  throw new HyperscaleError('damaged', `the copy of layer ${layer.epoch} here is damaged`);
}
