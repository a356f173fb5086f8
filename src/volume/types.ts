/**
 * The vocabulary of the protocol: the record of a volume as it stands in the metadata store.
 * Everything here is plain JSON. A volume is a chain of sealed layers, oldest first, and a tail
 * that says who may write (docs/design/protocol.md).
 */

export type NodeName = string;
export type PoolId = string;
export type BootId = string;
export type VolumeId = string;
export type LayerId = string;
export type SessionId = string;

/** A node's copy of a layer that is not sealed yet, with the boot in which it became a member. */
export type Member = { node: NodeName; pool: PoolId; boot: BootId };

/** A layer that is, was, or is about to be written. `members` is the write set, writer first. */
export type UnsealedLayer = {
  id: LayerId;
  epoch: number;
  sizeBytes: number;
  writer: NodeName;
  members: Member[];
  /** Wall clock of the writer when its epoch was prepared, ISO 8601; for people only. */
  openedAt?: string;
};

/**
 * - `clean`: holds exactly what the layer's authority holds, on stable storage.
 * - `unverified`: was a member when the layer's epoch ended uncleanly; holds every acknowledged
 *   write, but must be compared with a clean copy before it is used.
 * - `copying`: a new copy that is being filled.
 */
export type ReplicaState = 'clean' | 'unverified' | 'copying';
export type Replica = {
  node: NodeName;
  pool: PoolId;
  state: ReplicaState;
  /** What was found wrong with the file; absent when nothing is known to be. */
  damage?: Damage;
};

/** A part of a file. */
export type ByteRange = { offset: number; length: number };

/** There from when a copy was found to differ from what was sealed until it is mended. */
export type Damage = {
  /** The parts that differ, rising; a large damage is not listed to its end. */
  ranges: ByteRange[];
  /** Bytes of the parts, also of those that are not listed. */
  bytes: number;
  foundAt: string;
  /** Heads of epochs up to this one may have the file open: it is not written to until they are gone. */
  readUpTo: number;
};

/** A layer that is copied from a backup, and read from there until it is. */
export type Restoring = {
  /** Who copies it, and serves the backup meanwhile. */
  node: NodeName;
  pool: PoolId;
  /** Where it is served, by the name of the layer; null while it is not yet. */
  port: number | null;
  /** Why it does not go on. */
  problem?: string;
};

export type SealedLayer = {
  id: LayerId;
  epoch: number;
  sizeBytes: number;
  /** Root hash of the manifest of chunk hashes; null until the authority has computed it. */
  manifest: string | null;
  /** Bytes allocated in the container, null until the manifest was made. */
  bytes: number | null;
  /** The node whose copy decided what the layer holds. */
  authority: NodeName;
  replicas: Replica[];
  /** There while a backup decides what it holds, and no copy is clean yet (restore.ts). */
  restoring?: Restoring;
  /** As of the unsealed layer that it was. */
  openedAt?: string;
};

/** Why a new epoch was begun; shown to people and counted. */
export type RollReason =
  | 'attach'
  | 'evict'
  | 'head-died'
  | 'add-member'
  | 'localise'
  | 'seal'
  | 'extend'
  | 'merged'
  | 'no-space'
  | 'drain'
  | 'spread'
  | 'damaged'
  | 'retype'
  | 'member-unready';

/** Who may write. */
export type Tail =
  /** Nobody; every layer is sealed. */
  | { phase: 'idle' }
  /** A new epoch is prepared: nothing is served from `next` before the confirm. */
  | {
      phase: 'opening';
      reason: RollReason;
      next: UnsealedLayer;
      closing: UnsealedLayer | null;
    }
  /** The writer's head may serve `layer`. */
  | { phase: 'open'; reason: RollReason; layer: UnsealedLayer }
  /** `taker` ends the epoch of a writer that is gone. */
  | {
      phase: 'fencing';
      taker: NodeName;
      epoch: number;
      unsealed: UnsealedLayer;
      /** The writer itself gave it up, after it had ended its head. */
      writerEnded?: true;
    }
  /** Tombstone: every holder deletes its files and then takes itself off the garbage list. */
  | { phase: 'deleting' };

/** One consumer host's endpoint. A new session is a new export name (rule 15). */
export type Attachment = {
  host: NodeName;
  session: SessionId;
  boot: BootId;
  since: string;
  /**
   * There is no consumer: the host serves the volume in place of this one, whose disk failed or which
   * has no pool, and as long as it is attached there.
   */
  standInFor?: NodeName;
};

/** Layer files that are no longer part of the volume and whose holders must delete them. */
export type Garbage = {
  layer: LayerId;
  epoch: number;
  /** May be deleted when the volume is idle or its open epoch is above this one. */
  afterEpoch: number;
  holders: { node: NodeName; pool: PoolId }[];
  /** It holds acknowledged writes that were given up: its holders put it aside instead. */
  keep?: true;
};

/**
 * An operator's decision to go on without data that could not be reached (accept-loss.ts). Stays in
 * the record for good.
 */
export type AcceptedLoss = {
  /** ISO 8601. */
  at: string;
  /** Who decided, and the node that was told. */
  by: string;
  node: NodeName;
  /** Layers of which this node's copy was believed although a better one may exist. */
  believed: { layer: LayerId; epoch: number; node: NodeName }[];
  /** Layers that were taken out of the volume with all that was written in their epochs. */
  dropped: { layer: LayerId; epoch: number }[];
  /** What was said before it was done, sentence by sentence. */
  text: string[];
};

export type SnapshotId = string;

/** A point in time of a volume that is kept, by name. */
export type Snapshot = {
  id: SnapshotId;
  /** Unique among the snapshots of its volume. */
  name: string;
  /**
   * The newest layer of the volume's own chain that it shows, with all below. Null: there was none
   * yet, and it shows what the volume began with.
   */
  layer: LayerId | null;
  /** What the volume's size was. */
  sizeBytes: number;
  /** ISO 8601. */
  createdAt: string;
  /** It cannot be deleted. */
  protected?: true;
  /** Snapshots of several volumes with the same id were made at one instant. */
  group?: string;
};

/** How many backups are kept, by count and by calendar (UTC). */
export type Retention = {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
};

/** How often a volume is backed up by itself, where to, and what is kept there. */
export type EpisodePlan = { target: string; everyMinutes: number; keep: Retention };

export type EpisodeId = string;

/** A point in time of a volume that is to be shipped to a backup target, or was (episodes.ts). */
export type Episode = {
  id: EpisodeId;
  /** As of a snapshot. */
  layer: LayerId | null;
  sizeBytes: number;
  /** What the backup holds, ISO 8601. */
  at: string;
  /** Name of the target, and of the backup there. */
  target: string;
  name: string;
  /** Somebody asked for it; else the plan did. */
  asked?: true;
  /** Id of the backup that holds it; absent while it is not shipped. */
  backup?: string;
  /** Nodes that could not ship it. */
  failed?: NodeName[];
};

/** Another record, whose chain goes on from a layer of this one: what is up to there stays as it is. */
export type Clone = { volume: VolumeId; layer: LayerId };

/** Where a chain begins that goes on from another record's layer. */
export type Parent = {
  volume: VolumeId;
  layer: LayerId;
  sizeBytes: number;
  /** Sealed layers up to there, those of its own ancestors included. */
  layers: number;
};

/** What a record that is shown to one host read-only is for; it goes with its attachment. */
export type View = {
  of: VolumeId;
  /** Null: what the volume held when the view was made. */
  snapshot: { id: SnapshotId; name: string } | null;
  /** It goes too when nobody has been connected to it for a while. */
  untilUnused?: true;
};

/**
 * - `image`: never written, only cloned.
 * - `base`: a deleted volume or image that clones still need; it has no name any more.
 */
export type Role = 'image' | 'base';

export type ImportedFile = {
  format: 'raw' | 'qcow2' | 'vmdk' | 'vpc' | 'vhdx';
  bytes: number;
  /** 64 hex digits. */
  sha256: string;
};

/** Where the content of a restored volume came from. */
export type RestoredFrom = {
  target: string;
  /** 32 hex digits. */
  backup: string;
  /** Id and name of the volume that was backed up. */
  volume: VolumeId;
  volumeName: string;
  /** The point in time that the backup holds, ISO 8601. */
  at: string;
};

/** A run of adjacent sealed layers that is being merged into one new layer. */
export type Merge = {
  layers: LayerId[];
  /** Instead of layers of the chain all that other records hold below it. */
  below?: true;
  /** It is part of a compact: what the oldest layer holds is copied as it is seen, not as its file. */
  rewrite?: true;
  into: LayerId;
  builder: NodeName;
  /** Copies of `into`; the builder's is clean once it has built and recorded the manifest. */
  manifest: string | null;
  bytes: number | null;
  replicas: Replica[];
};

export type PolicyName = string;
export type Policy = {
  name: PolicyName;
  /** Copies beyond the first. */
  reflections: 0 | 1 | 2;
  maxIops: number;
  /** Merge when the chain of sealed layers is longer than this. */
  maxLayers: number;
};

/**
 * What a volume may do, all of its consumers together; null: not limited. For `burstSeconds` it may
 * do more, as much as it saved up.
 */
export type Limits = {
  maxIops: number | null;
  /** Bytes a second. */
  maxBandwidth: number | null;
  burstIops: number | null;
  burstBandwidth: number | null;
  burstSeconds: number | null;
};

export type Volume = {
  schema: 1;
  id: VolumeId;
  name: string;
  sizeBytes: number;
  policy: Policy;
  /** Limits of its own; absent: those of the policy. */
  limits?: Limits;
  /** What people note about it; absent: nothing. */
  metadata?: Record<string, string>;
  createdAt: string;
  /** The highest epoch ever begun. */
  epoch: number;
  attachments: Attachment[];
  /** Sealed layers, oldest first. */
  chain: SealedLayer[];
  tail: Tail;
  merge: Merge | null;
  garbage: Garbage[];
  /** Absent: it is a volume. */
  role?: Role;
  /** The file that an image, or an adopted volume, was made from. */
  file?: ImportedFile;
  /** When a clone of an image was last made, ISO 8601; absent: never. */
  usedAt?: string;
  /** The backup that it was made from. */
  restoredFrom?: RestoredFrom;
  /** Its first layer is being made of a file; nobody can use it yet. */
  importing?: { node: NodeName; pool: PoolId; layer: LayerId };
  /** Absent: the chain begins with nothing. */
  parent?: Parent;
  /** In the order of their layers, oldest first; absent when there are none. */
  snapshots?: Snapshot[];
  /** Nobody writes to it, and one host reads it (view.ts). */
  view?: View;
  /** Absent when there are none. */
  clones?: Clone[];
  /** Absent: it is backed up only when somebody asks for it. */
  episodePlan?: EpisodePlan;
  /** In the order of their layers, oldest first; absent when there are none. */
  episodes?: Episode[];
  /** Layers that something kept apart from the next one, and nothing does any more. */
  loose?: LayerId[];
  /** The node that is to merge all below the chain into it, so that it goes on from nobody. */
  flatten?: NodeName;
  /** Layers up to this epoch are to be written anew; `done`: those that were. */
  compact?: { upTo: number; done: LayerId[] };
  /** What it went on from, while heads of epochs up to this one may read it. */
  leaving?: { volume: VolumeId; afterEpoch: number };
  /** Decisions to go on without data, oldest first; absent when there was none. */
  losses?: AcceptedLoss[];
  /** Unique to each compare-and-swap, so that one whose answer was lost can be recognised. */
  operation: string;
};

/** What may fail at once: the place of a node. Two racks are one only within the same site. */
export type Labels = { site?: string; rack?: string };

/** What a node tells of itself in the store. */
export type NodeRecord = {
  name: NodeName;
  /** Random; of a node without a pool that of its state directory, by which it is the same node. */
  pool: PoolId;
  /** It holds no copies and writes nothing: another node serves what is attached on it. */
  withoutPool?: true;
  address: string;
  apiPort: number;
  replicaPort: number;
  registeredAt: string;
  /** Absent where nothing is known of its place. */
  labels?: Labels;
  /** Names of the backup targets that its configuration has; absent when there are none. */
  backupTargets?: string[];
};

/** Lives as long as the node's lease. */
export type NodeLease = {
  name: NodeName;
  pool: PoolId;
  boot: BootId;
  version: string;
  totalBytes: number;
  freeBytes: number;
};

/** An operator's wish that nothing of any volume stays on the node. */
export type DrainMark = {
  node: NodeName;
  pool: PoolId;
  /** ISO 8601. */
  at: string;
  by: string;
};

/** A node as placement and duties see it; `drain` is there while it is being drained. */
export type NodeView = NodeRecord & { lease: NodeLease | null; drain?: DrainMark };
