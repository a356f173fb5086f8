/** Writes one backup. It exists when its manifest does, which is put last; until then it can go on. */
import { randomBytes } from 'node:crypto';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type ChunkSet, chunksOf, type Range } from './changed.ts';
import { ChunkWriter, type ReadVolume, type WriteCounts } from './chunk-writer.ts';
import { type BackupEntry, manifestName, maxTimeMs } from './entry.ts';
import { usableParent, writeIndex } from './index-writer.ts';
import { checkId, checkName, newId } from './layout.ts';
import { Marks } from './marks.ts';
import type { Objects } from './objects.ts';
import { dropPin, findPins, HeldPin } from './pins.ts';
import { checkLabels, type Labels, type Manifest, type Pin } from './records.ts';
import type { Ref } from './refs.ts';
import { type Shape, shapeOf } from './shape.ts';

export type BackupSource = {
  /** The volume's id. */
  volume: string;
  volumeName: string;
  /** Of the backup. */
  name: string;
  /** The point in time that `read` returns, ms since 1970. */
  at: number;
  /** A volume may have grown (or shrunk) since its parent. */
  sizeBytes: number;
  /** The id of the backup to build on; null for one that stands on nothing. */
  parent: string | null;
  /**
   * What may differ from the parent, in any order; null when that is not known. What has grown onto
   * the volume counts as zeros unless it is here. Without a parent: all that may not be zeros.
   */
  changed: AsyncIterable<Range> | Iterable<Range> | null;
  /** Called for what changed only, or for what the repository lost; several calls at a time. */
  read: ReadVolume;
  labels?: Labels;
};

export type WriteProgress = WriteCounts & {
  /** Bytes of the volume that were looked at, and that there are to look at. */
  doneBytes: number;
  totalBytes: number;
};

export type WriteOptions = {
  /** Ends the write with `cancelled`; what was sent waits for the next call, or for `discard`. */
  signal?: AbortSignal;
  /** Called after each chunk; the writer waits for what it returns. */
  progress?: (progress: WriteProgress) => void | Promise<void>;
  /** Bytes of the volume to read in a second; what is sent is never more. */
  bytesPerSecond?: number;
  /** Chunks read and stored at once; default 8. So many are in memory, up to three times over. */
  width?: number;
};

export type Written = WriteCounts & {
  entry: BackupEntry;
  /** Whether an interrupted write of the same backup was continued. */
  resumed: boolean;
};

const defaultWidth = 8;
const maxWidth = 64;

/**
 * Writes a backup. Volume, name, time, size and parent say which one: called again with the same,
 * it continues what was interrupted, sends nothing twice, and returns the backup if it is there.
 * @throws `not-found` when the parent is gone, `conflict` when it was given up by somebody else.
 */
export async function writeBackup(
  objects: Objects,
  chunkBytes: number,
  source: BackupSource,
  options: WriteOptions = {},
): Promise<Written> {
  const { volume } = source;
  const { signal } = options;
  const shape = shapeOf(source.sizeBytes, chunkBytes);
  const width = options.width ?? defaultWidth;
  check(source, width);
  const done = await findPublished(objects, source);
  if (done !== null) return done;
  const chunks = await chunksOf(shape, source.changed, signal);
  const parent = source.parent === null ? null : await findParent(objects, source, chunkBytes);
  const { pin, resumed } = await begin(objects, source, parent, signal);
  // The pin was there before this look, so no sweep takes what the parent has.
  if (parent !== null) await checkParent(objects, parent.manifest, pin, signal);
  const marks = await Marks.read(objects.target, volume, signal);
  const index = await usableParent(objects, volume, parent, chunks, marks, signal);
  const writer = new ChunkWriter({
    ...{ objects, volume, session: pin.session, resumed, shape, marks, read: source.read },
    ...{ bytesPerSecond: options.bytesPerSecond, signal },
  });
  const root = await writeIndex({
    ...{ objects, volume, parent: index, chunks, writer, width, signal },
    parentRoot: parent?.root ?? null,
    afterChunk: afterChunk(options, pin, chunks, writer.counts),
  });
  const entry: BackupEntry = {
    ...{ volume, id: newId(Date.now(), randomBytes(10)), at: source.at, name: source.name },
    ...{ sizeBytes: source.sizeBytes, volumeName: source.volumeName },
    storedBytes: writer.counts.storedBytes,
  };
  await publish(objects, { entry, parent: source.parent, labels: source.labels ?? {}, root }, pin);
  return { entry, resumed, ...writer.counts };
}

function check(source: BackupSource, width: number): void {
  checkName('volume', source.volume);
  checkName('name of a volume', source.volumeName);
  checkName('name of a backup', source.name);
  checkLabels(source.labels ?? {});
  if (source.parent !== null) checkId(source.parent);
  if (!Number.isSafeInteger(source.at) || source.at < 0 || source.at > maxTimeMs) {
    throw new HyperscaleError('bad-input', `a backup cannot be of the time ${source.at}`, {
      hint: 'Give it in milliseconds since 1970.',
    });
  }
  if (!Number.isInteger(width) || width < 1 || width > maxWidth) {
    throw new HyperscaleError('bad-input', `${width} chunks cannot be stored at once`, {
      hint: `Choose 1 to ${maxWidth}.`,
    });
  }
}

type Parent = { manifest: Manifest; shape: Shape; root: Ref | null };

async function findParent(
  objects: Objects,
  { parent, volume }: BackupSource,
  chunkBytes: number,
): Promise<Parent> {
  for await (const entry of objects.entries(volume)) {
    if (entry.id !== parent) continue;
    const manifest = await objects.manifest(entry);
    return { manifest, shape: shapeOf(entry.sizeBytes, chunkBytes), root: manifest.root };
  }
  throw parentGone(volume, parent);
}

/** Puts a pin, or finds the one of an interrupted write of the same backup. */
async function begin(
  objects: Objects,
  source: BackupSource,
  built: Parent | null,
  signal: AbortSignal | undefined,
): Promise<{ pin: HeldPin; resumed: boolean }> {
  const { at, name, parent, sizeBytes, volume } = source;
  for (const { pin, session } of await findPins(objects, volume, signal)) {
    if (pin === null || !isPinOf(pin, source)) continue;
    return { pin: await HeldPin.resume(objects, volume, session, pin, signal), resumed: true };
  }
  const pin: Pin = {
    ...{ use: 'write', name, at, sizeBytes, since: Date.now(), parent },
    ...{ root: built?.root ?? null, rootSizeBytes: built?.shape.sizeBytes ?? 0 },
  };
  return { pin: await HeldPin.put(objects, volume, pin, signal), resumed: false };
}

/** The backup, when it is there: an earlier call came so far, and was interrupted before it returned. */
async function findPublished(objects: Objects, source: BackupSource): Promise<Written | null> {
  const { at, name, parent, sizeBytes, volume } = source;
  for await (const entry of objects.entries(volume)) {
    if (entry.name !== name || entry.at !== at || entry.sizeBytes !== sizeBytes) continue;
    const manifest = await unlessLost(() => objects.manifest(entry));
    if (manifest?.parent !== parent) continue;
    for (const { pin, session } of await findPins(objects, volume)) {
      if (pin !== null && isPinOf(pin, source)) await dropPin(objects, volume, session);
    }
    const { storedBytes } = entry;
    return { entry, resumed: true, readBytes: 0, sentBytes: 0, storedBytes };
  }
  return null;
}

function isPinOf(pin: Pin, { at, name, parent, sizeBytes }: BackupSource): boolean {
  const same = pin.name === name && pin.at === at && pin.sizeBytes === sizeBytes;
  return same && pin.use === 'write' && pin.parent === parent;
}

async function unlessLost<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (isHyperscaleError(error, 'damaged', 'not-found')) return null;
    throw error;
  }
}

async function checkParent(
  objects: Objects,
  { entry }: Manifest,
  pin: HeldPin,
  signal: AbortSignal | undefined,
): Promise<void> {
  if ((await objects.target.size(manifestName(entry), signal)) !== null) return;
  await pin.release();
  throw parentGone(entry.volume, entry.id);
}

function parentGone(volume: string, parent: string | null): HyperscaleError {
  return new HyperscaleError('not-found', `volume ${volume} has no backup ${parent} to build on`, {
    hint: 'Build on another backup, or on none.',
    values: { volume, parent },
  });
}

function afterChunk(
  { progress, signal }: WriteOptions,
  pin: HeldPin,
  chunks: ChunkSet,
  counts: WriteCounts,
): () => Promise<void> {
  const totalBytes = chunks.bytes;
  let begun = 0;
  return async () => {
    begun += 1;
    const doneBytes = Math.min(begun * chunks.shape.chunkBytes, totalBytes);
    await pin.renewIfDue(Date.now(), signal);
    await progress?.({ ...counts, doneBytes, totalBytes });
  };
}

/** From here on nothing is cancelled: it is a matter of a moment. */
async function publish(objects: Objects, manifest: Manifest, pin: HeldPin): Promise<void> {
  const { target } = objects;
  await target.flush();
  await pin.checkThere();
  await objects.publish(manifest);
  await target.flush();
  try {
    await pin.checkThere();
  } catch (error) {
    // Given up while the manifest was under way: what it needs may have been cleared away.
    if (isHyperscaleError(error, 'conflict')) await target.delete(manifestName(manifest.entry));
    throw error;
  }
  await pin.release();
}
