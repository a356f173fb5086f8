/** How much space volumes, nodes and the cluster take, need and could still give. Pure. */
import { type Lookup, layersBelow } from './lineage.ts';
import { episodesOf, sharedUpTo, snapshotsOf } from './marks.ts';
import {
  type FileKind,
  filesOf,
  Measured,
  type PoolMeasure,
  unsealedLayers,
} from './space-files.ts';
import { growthRoom } from './space-room.ts';
import type { LayerId, NodeName, NodeView, Volume } from './types.ts';

/** All in bytes of all copies together, unless they say otherwise. */
export type VolumeSpace = {
  /** Its size: what it may come to hold, once. */
  virtualBytes: number;
  /** What its own layers take on disks: sealed, open, being merged, and waiting to be deleted. */
  heldBytes: number;
  /** Of that, by node. */
  copies: { node: NodeName; bytes: number }[];
  /** Of that, layers that clones show too: deleting the volume does not give them back. */
  sharedBytes: number;
  /** Of that, files that wait to be deleted. */
  garbageBytes: number;
  /** What layers of others take that it shows below its own; counted with these, not here. */
  belowBytes: number;
  /** What deleting all its snapshots would give back, when all is merged. */
  snapshotBytes: { atLeast: number; atMost: number };
  /** Nodes that could not be asked: recorded sizes count there, and what was never recorded does not. */
  unmeasured: NodeName[];
};

export type NodeSpace = {
  node: NodeName;
  up: boolean;
  /** False: it could not be asked; only what records know is counted, and the rest is null. */
  measured: boolean;
  totalBytes: number | null;
  freeBytes: number | null;
  /** Layers that belong to a record. */
  layerBytes: number;
  /** Of that, layers that clones show too. */
  sharedBytes: number;
  /** Of that, what deleting all snapshots would give back here. */
  snapshotBytes: { atLeast: number; atMost: number };
  /** Layers that wait to be deleted. */
  garbageBytes: number;
  /** Layers that no record knows. */
  unknownBytes: number | null;
  ownBytes: number | null;
  reserveBytes: number | null;
  /** The rest that is not free: files of others, and what the file system takes for itself. */
  othersBytes: number | null;
  /** The sizes of all volumes that are written here, or would be: what they may come to hold. */
  promisedBytes: number;
};

export type ClusterSpace = {
  /** Sizes of all volumes, each once. */
  virtualBytes: number;
  totalBytes: number;
  freeBytes: number;
  layerBytes: number;
  garbageBytes: number;
  sharedBytes: number;
  snapshotBytes: { atLeast: number; atMost: number };
  promisedBytes: number;
  /** How much more can be written at 1, 2 and 3 copies, once each. */
  room: { copies: number; bytes: number }[];
  nodes: NodeSpace[];
};

export type SpaceView = { measures: readonly PoolMeasure[]; lookup: Lookup };

/** @param view `measures`: of the files of the volume and its ancestors. */
export function volumeSpace(volume: Volume, view: SpaceView): VolumeSpace {
  return spaceOf(volume, new Measured(view.measures), view.lookup);
}

function spaceOf(volume: Volume, measured: Measured, lookup: Lookup): VolumeSpace {
  const files = filesOf(volume).map((file) => ({ ...file, bytes: measured.bytesOf(file) }));
  const nodes = [...new Set(files.map((f) => f.node))].sort();
  const below = layersBelow(volume, lookup) ?? [];
  const homes = [...new Set(below.map(({ home }) => home))];
  const seen = new Set(below.map(({ layer }) => layer.id));
  const filesBelow = homes.flatMap(filesOf).filter((f) => seen.has(f.layer));
  return {
    virtualBytes: volume.sizeBytes,
    heldBytes: sum(files),
    copies: nodes.map((node) => ({ node, bytes: sum(files.filter((f) => f.node === node)) })),
    sharedBytes: sum(ofKind(files, 'shared')),
    garbageBytes: sum(ofKind(files, 'garbage')),
    belowBytes: filesBelow.reduce((total, f) => total + measured.bytesOf(f), 0),
    snapshotBytes: heldBySnapshots(volume, ofKind(files, 'layer')),
    unmeasured: [...new Set([...nodes, ...filesBelow.map((f) => f.node)])].filter(
      (node) => !measured.has(node),
    ),
  };
}

type SizedFile = { layer: LayerId; bytes: number };

/**
 * Without snapshots all layers that no clone sees are merged into what is newest. At most all below
 * that comes back: everything in it was written again, or discarded, since. At least what the layers
 * that snapshots end at hold beyond what one layer can hold at all. Where backups keep layers apart
 * too, nothing is sure.
 */
function heldBySnapshots(
  volume: Volume,
  files: readonly SizedFile[],
): VolumeSpace['snapshotBytes'] {
  const marked = new Set(snapshotsOf(volume).map((s) => s.layer));
  const unshared = volume.chain.slice(sharedUpTo(volume) + 1);
  const newest = unshared.findLastIndex((l) => marked.has(l.id));
  const isNewestOfAll = newest === unshared.length - 1 && unsealedLayers(volume).length === 0;
  const below = unshared.slice(0, isNewestOfAll ? newest : newest + 1).map((l) => l.id);
  const atMost = sum(files.filter((f) => below.includes(f.layer)));
  const ends = unshared
    .filter((l) => marked.has(l.id))
    .map((l) => files.filter((f) => f.layer === l.id).map((f) => f.bytes));
  const once = ends.reduce((total, copies) => total + leastOf(copies), 0);
  const surplus = episodesOf(volume).length > 0 ? 0 : once - mostBytes(volume.sizeBytes);
  const atLeast = Math.max(0, surplus) * leastOf(ends.map((copies) => copies.length));
  return { atLeast: Math.min(atLeast, atMost), atMost };
}

function leastOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.min(...values);
}

/** The most that the file of a layer can take: all of its data, and tables. */
function mostBytes(sizeBytes: number): number {
  const mib = 2 ** 20;
  // 16 bytes of tables and 2 of a reference count for each cluster of 128 KiB, and what is rounded.
  return sizeBytes + Math.ceil(sizeBytes / 4096) + 2 * mib;
}

/** @param measure null: the node could not be asked. */
export function nodeSpace(
  node: NodeView,
  volumes: readonly Volume[],
  measure: PoolMeasure | null,
): NodeSpace {
  const measured = new Measured(measure === null ? [] : [measure]);
  const parts = volumes.map((volume) => {
    const here = filesOf(volume).filter((f) => f.node === node.name);
    const files = here.map((file) => ({ ...file, bytes: measured.bytesOf(file) }));
    return { files, snapshots: heldBySnapshots(volume, ofKind(files, 'layer')) };
  });
  const files = parts.flatMap((part) => part.files);
  const garbageBytes = sum(ofKind(files, 'garbage'));
  const counted = {
    node: node.name,
    up: node.lease !== null,
    layerBytes: sum(files) - garbageBytes,
    sharedBytes: sum(ofKind(files, 'shared')),
    snapshotBytes: {
      atLeast: parts.reduce((total, { snapshots }) => total + snapshots.atLeast, 0),
      atMost: parts.reduce((total, { snapshots }) => total + snapshots.atMost, 0),
    },
    garbageBytes,
    promisedBytes: promised(node.name, volumes),
  };
  if (measure === null) {
    return {
      ...counted,
      measured: false,
      totalBytes: node.lease?.totalBytes ?? null,
      freeBytes: node.lease?.freeBytes ?? null,
      unknownBytes: null,
      ownBytes: null,
      reserveBytes: null,
      othersBytes: null,
    };
  }
  const { totalBytes, freeBytes, ownBytes, reserveBytes } = measure;
  const found = sum(measure.files);
  const ours = found + ownBytes + reserveBytes;
  return {
    ...counted,
    measured: true,
    totalBytes,
    freeBytes,
    unknownBytes: found - counted.layerBytes - counted.garbageBytes,
    ownBytes,
    reserveBytes,
    othersBytes: Math.max(0, totalBytes - freeBytes - ours),
  };
}

/** Images and what is left of deleted volumes never grow. */
function promised(node: NodeName, volumes: readonly Volume[]): number {
  return volumes
    .filter((v) => v.role === undefined && v.tail.phase !== 'deleting' && growsOn(v, node))
    .reduce((total, v) => total + v.sizeBytes, 0);
}

/** Where what is written to it goes: to the members, or, while it is idle, where its newest layer is. */
function growsOn(volume: Volume, node: NodeName): boolean {
  const [newest] = unsealedLayers(volume).slice(-1);
  const places = newest?.members ?? volume.chain.at(-1)?.replicas ?? [];
  return places.some((p) => p.node === node);
}

export function clusterSpace(
  volumes: readonly Volume[],
  nodes: readonly NodeView[],
  measures: readonly PoolMeasure[],
): ClusterSpace {
  const all = new Map(volumes.map((v) => [v.id, v]));
  const measured = new Measured(measures);
  const spaces = volumes.map((v) => spaceOf(v, measured, (id) => all.get(id)));
  const rows = [...nodes]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((n) => nodeSpace(n, volumes, measures.find((m) => m.node === n.name) ?? null));
  const total = <T>(list: readonly T[], bytes: (item: T) => number | null) =>
    list.reduce((so, item) => so + (bytes(item) ?? 0), 0);
  return {
    virtualBytes: total(
      volumes.filter((v) => v.role === undefined && v.tail.phase !== 'deleting'),
      (v) => v.sizeBytes,
    ),
    totalBytes: total(rows, (n) => n.totalBytes),
    freeBytes: total(rows, (n) => n.freeBytes),
    layerBytes: total(rows, (n) => n.layerBytes),
    garbageBytes: total(rows, (n) => n.garbageBytes),
    sharedBytes: total(spaces, (s) => s.sharedBytes),
    snapshotBytes: {
      atLeast: total(spaces, (s) => s.snapshotBytes.atLeast),
      atMost: total(spaces, (s) => s.snapshotBytes.atMost),
    },
    promisedBytes: total(rows, (n) => n.promisedBytes),
    room: [1, 2, 3].map((copies) => ({ copies, bytes: growthRoom(nodes, copies) })),
    nodes: rows,
  };
}

function ofKind<T extends { kind: FileKind }>(files: readonly T[], kind: FileKind): T[] {
  return files.filter((f) => f.kind === kind);
}

function sum(files: readonly { bytes: number }[]): number {
  return files.reduce((total, f) => total + f.bytes, 0);
}
