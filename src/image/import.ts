import type { Readable } from 'node:stream';
import type { Imported, ImportRequest } from '../api/image-service.ts';
import type { Work } from '../api/service.ts';
import type { LayerKey, LayerStore } from '../engine/engine.ts';
import type { ImageSource } from '../engine/image-source.ts';
import type { LayerContent } from '../engine/layer-content.ts';
import { containerBytes } from '../engine/layer-files.ts';
import { HyperscaleError } from '../errors.ts';
import type { Environment } from '../node/context.ts';
import { maxSizeBytes } from '../volume/names.ts';
import type { Volume } from '../volume/types.ts';
import type { ProbedImage, probeImage } from './probe.ts';
import type { BeginRequest, ImportRecords } from './records.ts';
import { PoolRoom } from './room.ts';
import type { Uploads } from './upload.ts';

/** What it takes to make the first layer of a record. */
export type LayerPlace = {
  layers: LayerStore;
  content: LayerContent;
  environment: Pick<Environment, 'after'>;
  records: Pick<ImportRecords, 'begin' | 'complete' | 'abandon'>;
  /** Shows work while it goes on; the signal fires when the record is deleted meanwhile. */
  working<T>(layer: LayerKey, body: (work: Work, deleted: AbortSignal) => Promise<T>): Promise<T>;
};

/** What an import needs of its node. */
export type ImportPlace = LayerPlace & {
  uploads: Pick<Uploads, 'receive' | 'remove'>;
  probe: typeof probeImage;
};

/**
 * Makes a file that comes in an image or a volume: receives it, looks at it, makes a record that
 * nobody can use yet, a layer in the pool, and completes the record. Whatever fails takes all of it
 * away; a crash leaves a record that the next start of the daemon takes away.
 * @throws as `ImageService.import`
 */
export async function importFile(
  place: ImportPlace,
  request: ImportRequest,
  body: Readable,
  signal: AbortSignal,
): Promise<Imported> {
  const most = Math.min(request.maxSizeBytes ?? maxSizeBytes, maxSizeBytes);
  const wanted = { mostBytes: containerBytes(most), sha256: request.sha256 };
  const upload = await place.uploads.receive(body, wanted, signal);
  try {
    const { format } = request;
    const probed = await place.probe(upload.path, { format, maxSizeBytes: most }, signal);
    const { name, policy, as } = request;
    const file = { format: probed.format, bytes: upload.bytes, sha256: upload.sha256 };
    const wantedRecord = { name, sizeBytes: probed.sizeBytes, policy, file, as };
    const volume = await makeRecord(place, wantedRecord, probed, signal);
    return { volume, notes: notesOn(probed) };
  } finally {
    await place.uploads.remove(upload);
  }
}

/**
 * Makes a record whose first layer shows what the source shows. Whatever fails takes all of it away.
 * @throws `exists`, `no-space`, `cancelled`, `bad-input` when the source cannot be read to its end
 */
export async function makeRecord(
  place: LayerPlace,
  request: BeginRequest,
  source: ImageSource,
  signal: AbortSignal,
): Promise<Volume> {
  const { records } = place;
  const { sizeBytes } = request;
  const { layer } = await records.begin(request);
  try {
    return await place.working(layer, async (work, deleted) => {
      const either = AbortSignal.any([signal, deleted]);
      const proof = await fillLayer(place, layer, { source, sizeBytes }, either, work);
      return await records.complete(layer, proof);
    });
  } catch (error) {
    await records.abandon(layer);
    throw error;
  }
}

/** @returns the proof of what the layer holds, for its copies to be compared with */
async function fillLayer(
  { layers, content, environment }: LayerPlace,
  layer: LayerKey,
  { source, sizeBytes }: { source: ImageSource; sizeBytes: number },
  signal: AbortSignal,
  work: Work,
): Promise<{ root: string; bytes: number }> {
  work.totalBytes = sizeBytes;
  const room = new PoolRoom(
    () => layers.space(),
    (milliseconds, callback) => environment.after(milliseconds, callback),
  );
  await room.during(signal, (still) =>
    layers.importFile(layer, source, sizeBytes, still, (part) => {
      work.doneBytes = Math.round(part * sizeBytes);
    }),
  );
  work.doneBytes = sizeBytes;
  const { root, allocatedBytes } = await content.manifest(layer, signal);
  if (signal.aborted) throw new HyperscaleError('cancelled', 'the import was cancelled');
  return { root, bytes: allocatedBytes };
}

function notesOn({ snapshots, virtualBytes, sizeBytes }: ProbedImage): string[] {
  const notes: string[] = [];
  if (snapshots.length > 0) {
    const names = snapshots.slice(0, 10).map((name) => JSON.stringify(name));
    notes.push(`Its internal snapshots are not imported: ${names.join(', ')}.`);
  }
  if (sizeBytes !== virtualBytes) {
    notes.push(`It shows ${virtualBytes} bytes; zeros follow up to ${sizeBytes}.`);
  }
  return notes;
}
