import type {
  BootId,
  LayerId,
  NodeName,
  NodeView,
  PoolId,
  SessionId,
  Volume,
  VolumeId,
} from '../volume/types.ts';

/** What one node finds in its pool and among its processes. */
export type Inspection = {
  node: NodeName;
  pool: PoolId;
  boot: BootId;
  layers: {
    volume: VolumeId;
    layer: LayerId;
    epoch: number;
    lengthBytes: number;
    allocatedBytes: number;
    /** ISO 8601: when the file was last written to. */
    writtenAt: string;
  }[];
  /** Paths below the pool of what lies among the layers and is none. */
  strays: string[];
  /** Epochs below these are refused. */
  fences: { volume: VolumeId; epoch: number }[];
  /** Layers that a head has opened in this boot. */
  burnt: LayerId[];
  heads: {
    volume: VolumeId;
    layer: LayerId;
    epoch: number;
    sessions: SessionId[];
    peers: NodeName[];
    sealed: { layer: LayerId; from: NodeName | null }[];
  }[];
  proxies: { volume: VolumeId; session: SessionId; headNode: NodeName }[];
  gateways: { volume: VolumeId; session: SessionId }[];
  /** Attachments that are block devices. Absent from a node whose software knows none. */
  devices?: { volume: VolumeId; session: SessionId }[];
  exports: { volume: VolumeId; layer: LayerId; epoch: number; writable: boolean }[];
  /** Containers that are kept ready. */
  spares: number;
  /** Names in `quarantine/`. */
  quarantined: string[];
};

/** All that a check compares, taken at about the same moment. */
export type Scene = {
  volumes: readonly Volume[];
  nodes: readonly NodeView[];
  /** Pools that were taken out for good. */
  retired: readonly { node: NodeName; pool: PoolId }[];
  inspections: readonly Inspection[];
  /** Nodes that are up and did not answer. */
  silent: readonly { node: NodeName; why: string }[];
  /** Length of the file of a layer of this size. */
  lengthOf: (sizeBytes: number) => number;
};

/**
 * - `error`: data is in danger, or a rule is broken.
 * - `warning`: something is not as the records say, or will not end by itself.
 * - `note`: to be known; nothing is wrong.
 */
export type FindingSeverity = 'error' | 'warning' | 'note';

/** What puts it right without risk to data. */
export type Fix =
  /** The copy counts no more; another is made. Its file, if any, is put aside. */
  | {
      do: 'lose-copy';
      volume: VolumeId;
      layer: LayerId;
      node: NodeName;
      pool: PoolId;
      path: string | null;
    }
  /** The file is moved to `quarantine/` of its pool. */
  | { do: 'quarantine'; node: NodeName; path: string }
  /** Nobody waits for this pool any more. */
  | { do: 'retire'; volume: VolumeId; node: NodeName; pool: PoolId };

export type FsckFinding = {
  /** Stable word for programs. */
  kind: string;
  severity: FindingSeverity;
  volume: VolumeId | null;
  node: NodeName | null;
  /** What it is about, in a form that is the same at every look. */
  subject: string;
  what: string;
  why: string;
  action: string;
  fix: Fix | null;
};
