/** Which files a record places where: what is counted as space. Pure. */
import { sharedUpTo } from './marks.ts';
import type { LayerId, NodeName, UnsealedLayer, Volume, VolumeId } from './types.ts';

/** Bytes that a layer's file takes on the disk of a node; holes take none. */
export type FileBytes = { volume: VolumeId; layer: LayerId; bytes: number };

/** What the pool of one node was measured to hold. */
export type PoolMeasure = {
  node: NodeName;
  /** Of the file system that the pool lies in. */
  totalBytes: number;
  freeBytes: number;
  /** Files of ours that are no layers: checksums, kept records, fences, spares, files put aside. */
  ownBytes: number;
  /** Kept back for those, so that they can be written when the pool is full. */
  reserveBytes: number;
  files: FileBytes[];
};

/** - `shared`: a layer that clones show too. - `garbage`: waits to be deleted. */
export type FileKind = 'layer' | 'shared' | 'garbage';

/** `recorded`: what is known of its size without looking at it; null: nothing. */
export type PlacedFile = {
  node: NodeName;
  layer: LayerId;
  kind: FileKind;
  recorded: number | null;
};

/** Every file that a record places on a node, each once. Layers of ancestors belong to their records. */
export function filesOf(volume: Volume): PlacedFile[] {
  const files = new Map<string, PlacedFile>();
  const add = (file: PlacedFile) => {
    const key = `${file.layer} ${file.node}`;
    if (!files.has(key)) files.set(key, file);
  };
  const shared = sharedUpTo(volume);
  for (const [place, { id: layer, bytes, replicas }] of volume.chain.entries()) {
    const kind = place <= shared ? ('shared' as const) : ('layer' as const);
    for (const { node, state } of replicas) {
      add({ node, layer, kind, recorded: state === 'copying' ? null : bytes });
    }
  }
  for (const { id: layer, members } of unsealedLayers(volume)) {
    for (const { node } of members) add({ node, layer, kind: 'layer', recorded: null });
  }
  if (volume.importing !== undefined) {
    const { node, layer } = volume.importing;
    add({ node, layer, kind: 'layer', recorded: null });
  }
  if (volume.merge !== null) {
    const { into: layer, replicas, bytes } = volume.merge;
    for (const { node, state } of replicas) {
      add({ node, layer, kind: 'layer', recorded: state === 'copying' ? null : bytes });
    }
  }
  for (const { layer, holders } of volume.garbage) {
    for (const { node } of holders) add({ node, layer, kind: 'garbage', recorded: null });
  }
  return [...files.values()];
}

/** Layers that are, were, or are about to be written, oldest first. */
export function unsealedLayers({ tail }: Volume): UnsealedLayer[] {
  if (tail.phase === 'open') return [tail.layer];
  if (tail.phase === 'fencing') return [tail.unsealed];
  if (tail.phase === 'opening') return [...(tail.closing ? [tail.closing] : []), tail.next];
  return [];
}

/** Sizes of files as they were measured, by node and layer. */
export class Measured {
  readonly #nodes = new Map<NodeName, Map<LayerId, number>>();

  constructor(measures: readonly PoolMeasure[]) {
    for (const { node, files } of measures) {
      this.#nodes.set(node, new Map(files.map(({ layer, bytes }) => [layer, bytes])));
    }
  }

  /** True when the node told of its files. */
  has(node: NodeName): boolean {
    return this.#nodes.has(node);
  }

  /** Bytes of a file: measured, else recorded, else taken for none. */
  bytesOf({ node, layer, recorded }: PlacedFile): number {
    const files = this.#nodes.get(node);
    return files === undefined ? (recorded ?? 0) : (files.get(layer) ?? 0);
  }
}
