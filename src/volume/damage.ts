/**
 * Damage to copies of sealed layers: what a disk returns that is not what was sealed. A copy that
 * was found damaged carries its `damage` until it is mended. It becomes `unverified`, so that
 * nothing reads it any more, unless no other sound copy is alive: the last one is kept and told of.
 */
import { cleanReplicas, isDeletable, replicaOn, sealedLayer } from './queries.ts';
import { refuse } from './refuse.ts';
import type {
  ByteRange,
  Damage,
  LayerId,
  NodeName,
  PoolId,
  Replica,
  SealedLayer,
  Volume,
} from './types.ts';

/** A record is kept small: more parts than these are counted and not listed. */
export const maxRanges = 16;

/** Copies that hold, as far as is known, exactly what was sealed. */
export function soundReplicas(layer: { replicas: Replica[] }): Replica[] {
  return cleanReplicas(layer).filter((r) => r.damage === undefined);
}

/**
 * Notes what was found wrong with a copy. A clean one becomes `unverified` when another sound copy
 * is on a node that is alive, so that it is read from there and this one can be mended; the last
 * one stays what it is (rule 7).
 * @throws `conflict` when the copy is not part of the volume, or nothing proves what is right.
 */
export function recordDamage(
  volume: Volume,
  id: LayerId,
  copy: { node: NodeName; pool: PoolId },
  found: { ranges: readonly ByteRange[]; at: string },
  alive: (node: NodeName) => boolean,
): Volume {
  const { layer, replica } = theCopy(volume, id, copy);
  if (layer.manifest === null) {
    refuse(volume, 'damage', `layer ${layer.epoch} has no manifest that says what is right`);
  }
  const ranges = joined([...(replica.damage?.ranges ?? []), ...found.ranges]);
  const listed = ranges.slice(0, maxRanges);
  const known = replica.damage;
  const bytes = Math.max(totalBytes(ranges), known?.bytes ?? 0);
  const damage: Damage = {
    ranges: listed,
    bytes,
    foundAt: known?.foundAt ?? found.at,
    readUpTo: known?.readUpTo ?? 0,
  };
  const same = JSON.stringify(damage) === JSON.stringify(known);
  const noted = same ? volume : withReplica(volume, layer, { ...replica, damage });
  return replica.state === 'clean' && hasOtherSound(layer, copy.node, alive)
    ? withdrawDamaged(noted, id, copy, alive)
    : noted;
}

/** A damaged copy that was kept because it was the last one is not needed as such any more. */
export function withdrawDamaged(
  volume: Volume,
  id: LayerId,
  copy: { node: NodeName; pool: PoolId },
  alive: (node: NodeName) => boolean,
): Volume {
  const { layer, replica } = theCopy(volume, id, copy);
  if (replica.state !== 'clean' || replica.damage === undefined) {
    return refuse(volume, 'damage', `the copy of ${layer.epoch} on ${copy.node} is not damaged`);
  }
  if (!hasOtherSound(layer, copy.node, alive)) {
    return refuse(volume, 'damage', `${copy.node} has the last clean copy of ${layer.epoch}`);
  }
  // A head of an epoch that is still being opened will be started with what is recorded here.
  const readUpTo = volume.tail.phase === 'opening' ? volume.epoch - 1 : volume.epoch;
  const damage = { ...replica.damage, readUpTo };
  return withReplica(volume, layer, { ...replica, state: 'unverified', damage });
}

/** True while a head may have a damaged copy open, which must not be written to then. */
export function mayBeRead(volume: Volume, replica: Replica): boolean {
  return replica.damage !== undefined && !isDeletable(volume, replica.damage.readUpTo);
}

/** Copies that heads up to the open epoch may be reading although they are damaged. */
export function damagedButRead(volume: Volume): { layer: SealedLayer; replica: Replica }[] {
  return volume.chain.flatMap((layer) =>
    layer.replicas
      .filter((r) => r.state !== 'clean' && mayBeRead(volume, r))
      .map((replica) => ({ layer, replica })),
  );
}

/**
 * Parts of what `replica` lacks that none of `sources` has, as far as is known; empty when a mend
 * can succeed.
 */
export function unobtainable(replica: Replica, sources: readonly Replica[]): ByteRange[] {
  const [first, ...others] = sources.map((source) => source.damage?.ranges ?? []);
  if (first === undefined) return [];
  const nowhere = others.reduce(intersection, first);
  return replica.state === 'copying' ? nowhere : intersection(nowhere, lacking(replica));
}

function lacking(replica: Replica): ByteRange[] {
  return replica.damage?.ranges ?? [];
}

/** Parts of a layer's file that are right in no copy, as far as is known. */
export function lostRanges(layer: SealedLayer): ByteRange[] {
  const [first, ...others] = layer.replicas
    .filter((r) => r.state !== 'copying' || r.damage !== undefined)
    .map(lacking);
  return first === undefined ? [] : others.reduce(intersection, first);
}

type Chunks = { chunkBytes: number; lengthBytes: number; chunks: readonly (string | null)[] };

/** The parts in which a file that was hashed is not what it should be. */
export function differences(wanted: Chunks, found: Omit<Chunks, 'chunkBytes'>): ByteRange[] {
  const count = Math.max(wanted.chunks.length, found.chunks.length);
  const differing: number[] = [];
  for (let index = 0; index < count; index += 1) {
    if (wanted.chunks[index] !== found.chunks[index]) differing.push(index);
  }
  const lengthBytes = Math.max(wanted.lengthBytes, found.lengthBytes);
  if (differing.length === 0 && wanted.lengthBytes !== found.lengthBytes) {
    const offset = Math.min(wanted.lengthBytes, found.lengthBytes);
    return [{ offset, length: lengthBytes - offset }];
  }
  return rangesOf(differing, wanted.chunkBytes, lengthBytes);
}

/** The parts of a file that are made of these chunks, joined where they touch. */
export function rangesOf(
  chunks: readonly number[],
  chunkBytes: number,
  lengthBytes: number,
): ByteRange[] {
  return joined(
    chunks.map((index) => {
      const offset = index * chunkBytes;
      return { offset, length: Math.max(1, Math.min(chunkBytes, lengthBytes - offset)) };
    }),
  );
}

export function totalBytes(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}

/** In rising order, each byte once. */
function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const result: ByteRange[] = [];
  for (const { offset, length } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = result.at(-1);
    if (last === undefined || last.offset + last.length < offset) result.push({ offset, length });
    else last.length = Math.max(last.length, offset + length - last.offset);
  }
  return result;
}

function intersection(a: readonly ByteRange[], b: readonly ByteRange[]): ByteRange[] {
  return a.flatMap((x) =>
    b.flatMap((y) => {
      const offset = Math.max(x.offset, y.offset);
      const length = Math.min(x.offset + x.length, y.offset + y.length) - offset;
      return length > 0 ? [{ offset, length }] : [];
    }),
  );
}

function hasOtherSound(
  layer: SealedLayer,
  node: NodeName,
  alive: (node: NodeName) => boolean,
): boolean {
  return soundReplicas(layer).some((r) => r.node !== node && alive(r.node));
}

function theCopy(volume: Volume, id: LayerId, copy: { node: NodeName; pool: PoolId }) {
  const layer = sealedLayer(volume, id);
  if (layer === undefined) return refuse(volume, 'damage', `layer ${id} is not sealed`);
  const replica = replicaOn(layer, copy.node);
  if (replica === undefined || replica.pool !== copy.pool) {
    return refuse(volume, 'damage', `${copy.node} holds no copy of layer ${layer.epoch}`);
  }
  return { layer, replica };
}

function withReplica(volume: Volume, layer: SealedLayer, replica: Replica): Volume {
  const replicas = layer.replicas.map((r) => (r.node === replica.node ? replica : r));
  return {
    ...volume,
    chain: volume.chain.map((l) => (l.id === layer.id ? { ...layer, replicas } : l)),
  };
}
