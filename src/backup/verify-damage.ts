/** Which backups, and which parts of them, bad objects touch. */
import { isHyperscaleError } from '../errors.ts';
import type { Range } from './changed.ts';
import type { BackupEntry } from './entry.ts';
import { dataName } from './layout.ts';
import type { Objects } from './objects.ts';
import type { DamagedRange } from './reader.ts';
import { pageChunks, type Ref, type RefList } from './refs.ts';
import { chunkRange, pageRange, type Shape, shapeOf } from './shape.ts';

export type DamagedBackup = {
  entry: BackupEntry;
  /** What cannot be restored, ascending, neighbours with the same reason joined. */
  ranges: DamagedRange[];
};

export type Damage = {
  objects: Objects;
  chunkBytes: number;
  entries: readonly BackupEntry[];
  /** Names of bad objects, and what is wrong with them. */
  bad: ReadonlyMap<string, string>;
  /** By id: backups of which nothing can be restored. */
  lostManifests: ReadonlyMap<string, string>;
};

export async function touchedBy(damage: Damage, signal?: AbortSignal): Promise<DamagedBackup[]> {
  const damaged: DamagedBackup[] = [];
  const clean = new Set<string>();
  for (const entry of damage.entries) {
    const ranges: DamagedRange[] = [];
    for await (const range of lostParts(damage, entry, clean, signal)) append(ranges, range);
    if (ranges.length > 0) damaged.push({ entry, ranges });
  }
  return damaged;
}

async function* lostParts(
  damage: Damage,
  entry: BackupEntry,
  clean: Set<string>,
  signal: AbortSignal | undefined,
): AsyncIterable<DamagedRange> {
  const { bad, lostManifests, objects } = damage;
  const { volume } = entry;
  const whole = { offset: 0, length: entry.sizeBytes };
  const reasonOf = (ref: Ref) => bad.get(dataName(volume, ref));
  const manifestLost = lostManifests.get(entry.id);
  if (manifestLost !== undefined) return yield { ...whole, reason: manifestLost };
  const shape = shapeOf(entry.sizeBytes, damage.chunkBytes);
  const manifest = await unlessGone(() => objects.manifest(entry, signal));
  if (manifest?.root == null) return;
  const rootLost = reasonOf(manifest.root);
  if (rootLost !== undefined) return yield { ...whole, reason: rootLost };
  const root = await objects.root(volume, shape, manifest.root, signal);
  for (let number = 0; number < shape.pages; number += 1) {
    const ref = root.get(number);
    if (ref === null || clean.has(dataName(volume, ref))) continue;
    const pageLost = reasonOf(ref);
    if (pageLost !== undefined) {
      yield { ...pageRange(shape, number), reason: pageLost };
      continue;
    }
    const page = await objects.page(volume, shape, number, ref, signal);
    const lost = lostChunks(page, number, shape, reasonOf);
    if (lost.length === 0) clean.add(dataName(volume, ref));
    yield* lost;
  }
}

function lostChunks(
  page: RefList,
  number: number,
  shape: Shape,
  reasonOf: (ref: Ref) => string | undefined,
): DamagedRange[] {
  const lost: DamagedRange[] = [];
  for (let place = 0; place < page.length; place += 1) {
    const chunk = page.get(place);
    const reason = chunk === null ? undefined : reasonOf(chunk);
    if (reason === undefined) continue;
    lost.push({ ...chunkRange(shape, number * pageChunks + place), reason });
  }
  return lost;
}

function append(ranges: DamagedRange[], range: DamagedRange): void {
  const last = ranges.at(-1);
  if (last?.reason === range.reason && endOf(last) === range.offset) last.length += range.length;
  else ranges.push({ ...range });
}

function endOf({ length, offset }: Range): number {
  return offset + length;
}

async function unlessGone<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) return null;
    throw error;
  }
}
