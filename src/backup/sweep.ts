/**
 * Deletes what no backup needs. Other hosts may write, read, remove and sweep at the same time; the
 * order of the steps makes that safe, see docs/design/backup.md.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type BackupEntry, manifestName } from './entry.ts';
import { folders, isId, parseDamageName } from './layout.ts';
import type { Objects } from './objects.ts';
import { forEachParallel } from './parallel.ts';
import { dropPin, findPins } from './pins.ts';
import { RefMap } from './ref-set.ts';
import type { Ref } from './refs.ts';
import { type Shape, shapeOf } from './shape.ts';
import { digestIn } from './stored-sizes.ts';
import { checkCancelled } from './target.ts';

export type SweepOptions = {
  signal?: AbortSignal;
  /** Silent for longer, a write or a read is taken for dead; default 7 days. */
  pinMaxAgeMs?: number;
  /** Ms since 1970; default: the clock. */
  now?: number;
  progress?: (progress: SweepReport) => void;
};

export type SweepReport = {
  deletedObjects: number;
  deletedBytes: number;
  /** Objects that backups, or work under way, need. */
  keptObjects: number;
  /** Writes and reads that were given up. */
  droppedPins: number;
};

/**
 * Where listings are late, no backup may be removed that is younger, and no sweep may take longer
 * from its first look to its last one than half of it. Then a listing misses no backup that another
 * one was built on; docs/design/backup.md has the proof.
 */
export const minAgeWhereLateMs = 3600 * 1000;
const defaultPinMaxAgeMs = 7 * 24 * 3600 * 1000;
const width = 8;

/** An index that must stay whole. */
type Root = { shape: Shape; root: Ref };

/**
 * Sweeps one volume.
 * @throws `damaged` when an index cannot be read: then it is not known what it needs, and nothing
 * is deleted. `conflict` when backups are removed meanwhile; sweep again.
 */
export async function sweepVolume(
  objects: Objects,
  chunkBytes: number,
  volume: string,
  options: SweepOptions = {},
): Promise<SweepReport> {
  const { signal } = options;
  const { target } = objects;
  const report = { deletedObjects: 0, deletedBytes: 0, keptObjects: 0, droppedPins: 0 };
  report.droppedPins = await dropOldPins(objects, volume, options);
  const roots = new Map<string, Root | null>();
  const begun = performance.now();
  await addManifests(objects, chunkBytes, volume, roots, signal);
  const sessions: string[] = [];
  for await (const session of target.folders(folders.data(volume), signal)) {
    if (isId(session)) sessions.push(session);
  }
  await wait(target.listingLagMs, signal);
  const pinned = await addPins(objects, chunkBytes, volume, roots, signal);
  await wait(target.listingLagMs, signal);
  await addManifests(objects, chunkBytes, volume, roots, signal);
  if (target.listingLagMs > 0 && performance.now() - begun > minAgeWhereLateMs / 2) {
    throw new HyperscaleError('conflict', `it took too long to look at the backups of ${volume}`, {
      hint: 'Sweep again when the target is less busy.',
    });
  }
  const live = await mark(objects, volume, roots, signal);
  for (const session of sessions) {
    if (!pinned.has(session)) await sweepSession(objects, volume, session, live, report, options);
  }
  await sweepMarks(objects, volume, live, pinned, signal);
  return report;
}

async function dropOldPins(objects: Objects, volume: string, options: SweepOptions) {
  const oldest = (options.now ?? Date.now()) - (options.pinMaxAgeMs ?? defaultPinMaxAgeMs);
  let dropped = 0;
  for (const { renewedAt, session } of await findPins(objects, volume, options.signal)) {
    if (renewedAt >= oldest) continue;
    await dropPin(objects, volume, session);
    dropped += 1;
  }
  return dropped;
}

/** Adds the indexes of all backups that are there now and were not before. */
async function addManifests(
  objects: Objects,
  chunkBytes: number,
  volume: string,
  roots: Map<string, Root | null>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const entries = await objects.allEntries(volume, signal);
  const added = entries.filter((entry) => !roots.has(manifestName(entry)));
  await forEachParallel(added, width, async (entry) => {
    const { root } = await manifestOf(objects, entry, signal);
    const shape = shapeOf(entry.sizeBytes, chunkBytes);
    roots.set(manifestName(entry), root === null ? null : { shape, root });
  });
}

async function manifestOf(objects: Objects, entry: BackupEntry, signal: AbortSignal | undefined) {
  try {
    return await objects.manifest(entry, signal);
  } catch (error) {
    if (!isHyperscaleError(error, 'not-found')) throw unsweepable(error, entry.volume);
    throw removedMeanwhile(entry.volume, error);
  }
}

/** Adds what pins protect. @returns the sessions that may still be writing. */
async function addPins(
  objects: Objects,
  chunkBytes: number,
  volume: string,
  roots: Map<string, Root | null>,
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const sessions = new Set<string>();
  for (const { pin, session } of await findPins(objects, volume, signal)) {
    if (pin === null) {
      throw new HyperscaleError('damaged', `the pin ${session} of ${volume} cannot be read`, {
        hint: 'Discard that unfinished backup; else it is given up after a week.',
        values: { volume, session },
      });
    }
    sessions.add(session);
    const { root, rootSizeBytes } = pin;
    const index = root === null ? null : { shape: shapeOf(rootSizeBytes, chunkBytes), root };
    roots.set(`${folders.pins(volume)}${session}`, index);
  }
  return sessions;
}

/** All objects that the indexes name, themselves included. `roots` is by what has the index. */
async function mark(
  objects: Objects,
  volume: string,
  roots: ReadonlyMap<string, Root | null>,
  signal: AbortSignal | undefined,
): Promise<RefMap<true>> {
  const live = new RefMap<true>();
  for (const [owner, index] of roots) {
    if (index === null || live.has(index.root)) continue;
    const { shape } = index;
    try {
      const root = await objects.root(volume, shape, index.root, signal);
      live.set(index.root, true);
      const pages = Array.from({ length: shape.pages }, (_, number) => number);
      await forEachParallel(pages, width, async (number) => {
        const ref = root.get(number);
        if (ref === null || live.has(ref)) return;
        const page = await objects.page(volume, shape, number, ref, signal);
        live.set(ref, true);
        for (let place = 0; place < page.length; place += 1) {
          const chunk = page.get(place);
          if (chunk !== null) live.set(chunk, true);
        }
      });
    } catch (error) {
      // Removed, and swept by another host while this one read it.
      const isGone = (await objects.target.size(owner, signal)) === null;
      throw isGone ? removedMeanwhile(volume, error) : unsweepable(error, volume);
    }
  }
  return live;
}

async function sweepSession(
  objects: Objects,
  volume: string,
  session: string,
  live: RefMap<true>,
  report: SweepReport,
  { progress, signal }: SweepOptions,
): Promise<void> {
  const { target } = objects;
  const stored = target.sizes(folders.session(volume, session), signal);
  await forEachParallel(stored, width, async ({ bytes, name }) => {
    const digest = digestIn(name);
    if (digest !== undefined && live.has({ session, digest })) {
      report.keptObjects += 1;
      return;
    }
    await target.delete(name, signal);
    report.deletedObjects += 1;
    report.deletedBytes += bytes;
    progress?.({ ...report });
  });
}

/** Marks of objects that nothing needs any more go too. */
async function sweepMarks(
  objects: Objects,
  volume: string,
  live: RefMap<true>,
  pinned: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const name of objects.target.names(folders.damage(volume), signal)) {
    const bad = parseDamageName(name);
    if (bad === undefined || live.has(bad) || pinned.has(bad.session)) continue;
    await objects.target.delete(name, signal);
  }
}

async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms === 0) return;
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    checkCancelled(signal);
    throw error;
  });
}

function removedMeanwhile(volume: string, cause: unknown): HyperscaleError {
  return new HyperscaleError('conflict', `backups of ${volume} were removed during a sweep`, {
    hint: 'Sweep again.',
    cause,
  });
}

function unsweepable(error: unknown, volume: string): unknown {
  if (!isHyperscaleError(error, 'damaged')) return error;
  const text = `nothing of ${volume} is swept away, for an index is damaged: ${error.message}`;
  return new HyperscaleError('damaged', text, {
    hint: 'Verify its backups and remove those that are damaged, or make a new backup, which mends what it can.',
    values: { volume },
    cause: error,
  });
}
