import type { Readable } from 'node:stream';
import type { Imported, ImportRequest } from '../api/image-service.ts';
import type { Work } from '../api/service.ts';
import type { LayerKey, LayerStore } from '../engine/engine.ts';
import type { LayerContent } from '../engine/layer-content.ts';
import { containerBytes } from '../engine/layer-files.ts';
import { HyperscaleError } from '../errors.ts';
import { maxSizeBytes } from '../volume/names.ts';
import { type ProbedImage, probeImage } from './probe.ts';
import type { ImportRecords } from './records.ts';
import { PoolRoom } from './room.ts';
import type { Upload, Uploads } from './upload.ts';

/** What an import needs of its node. */
export type ImportPlace = {
  layers: LayerStore;
  content: LayerContent;
  uploads: Uploads;
  records: Pick<ImportRecords, 'begin' | 'complete' | 'abandon'>;
  /** Shows work while it goes on; the signal fires when the record is deleted meanwhile. */
  working<T>(layer: LayerKey, body: (work: Work, deleted: AbortSignal) => Promise<T>): Promise<T>;
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
    const probed = await probeImage(upload.path, { format, maxSizeBytes: most }, signal);
    const volume = await makeLayer(place, request, { upload, probed }, signal);
    return { volume, notes: notesOn(probed) };
  } finally {
    await place.uploads.remove(upload);
  }
}

async function makeLayer(
  place: ImportPlace,
  request: ImportRequest,
  { upload, probed }: { upload: Upload; probed: ProbedImage },
  signal: AbortSignal,
) {
  const { records } = place;
  const { name, policy, as } = request;
  const { format, sizeBytes } = probed;
  const file = { format, bytes: upload.bytes, sha256: upload.sha256 };
  const { layer } = await records.begin({ name, sizeBytes, policy, file, as });
  try {
    return await place.working(layer, async (work, deleted) => {
      const either = AbortSignal.any([signal, deleted]);
      const proof = await fillLayer(place, layer, probed, either, work);
      return records.complete(layer, proof);
    });
  } catch (error) {
    await records.abandon(layer);
    throw error;
  }
}

/** @returns the proof of what the layer holds, for its copies to be compared with */
async function fillLayer(
  { layers, content }: ImportPlace,
  layer: LayerKey,
  probed: ProbedImage,
  signal: AbortSignal,
  work: Work,
): Promise<{ root: string; bytes: number }> {
  const { sizeBytes } = probed;
  work.totalBytes = sizeBytes;
  const room = new PoolRoom(() => layers.space());
  await room.during(signal, (still) =>
    layers.importFile(layer, probed, sizeBytes, still, (part) => {
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
