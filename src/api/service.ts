import type { Inspection } from '../cluster/fsck-types.ts';
import type { Verification } from '../cluster/verify.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { Versioned } from '../store/store.ts';
import type { VmMoves } from '../vm/moves.ts';
import type { VmDisks } from '../vm/vms.ts';
import type { LimitsChange } from '../volume/limits.ts';
import type { Attachment, NodeView, Policy, Volume } from '../volume/types.ts';
import type { BackupService } from './backup-service.ts';
import type { ChangeService } from './change-service.ts';
import type { DeviceService } from './device-service.ts';
import type { ImageService } from './image-service.ts';
import type { OperatorService } from './operator-service.ts';
import type { RestoreService } from './restore-service.ts';
import type { SnapshotService } from './snapshot-service.ts';
import type { PoolMeasureHere, SpaceService } from './space-service.ts';
import type { ViewService } from './view-service.ts';

/** Progress of background work on a volume on this node, 0 to 1 where it is known. */
export type Work = {
  /** Where it is done. */
  node: string;
  volume: string;
  kind: 'mend' | 'manifest' | 'merge' | 'delete' | 'verify' | 'import' | 'restore' | 'backup';
  layer: string;
  /** Where the data comes from, for a mend. */
  from: string | null;
  doneBytes: number;
  totalBytes: number | null;
  startedAt: string;
};

/** What happened; kept in memory, newest last, and sent to followers. */
export type NodeEvent = {
  id: number;
  at: string;
  /** e.g. `volume.changed`, `volume.removed`, `node.up`, `node.down`, `epoch.opened`, `member.failed`. */
  type: string;
  node: string;
  volume?: string;
  /** One plain sentence. */
  text: string;
  values?: Record<string, unknown>;
};

/** Where a consumer connects. */
export type Endpoint = Attachment & { uri: string; socket: string };

/** Something on a node that uses a volume and does not learn by itself that it has grown. */
export type Consumer = {
  kind: 'domain' | 'device' | 'host';
  /** Of a libvirt domain its name and the disk in it, of a block device its path. */
  name: string;
  /** Why it could not be told; null when it shows the new size. */
  problem: string | null;
};

/** A volume after it has grown, and who was told, or is still to be told, on which node. */
export type Extended = { volume: Volume; consumers: (Consumer & { node: string })[] };

/**
 * What the API asks of the daemon. Every method validates what depends on the cluster's state and
 * throws `HyperscaleError`; shapes and ranges were checked by the API's schemas.
 */
export interface NodeService {
  readonly nodeName: string;
  readonly version: string;
  /** Which nodes show each other; absent where no other node is asked. */
  readonly secret?: string;
  storeConnected(): boolean;
  /** Why this node does not believe the metadata in etcd; null when it does. */
  quarantine(): string | null;
  /** Identity of the metadata; a recovery gives them another one. */
  clusterId(): string;
  /** Rebuilds the records from the pools; null where there are no pools. */
  readonly recovery: Pick<Recovery, 'run' | 'here'> | null;
  nodes(): NodeView[];
  volumes(): Versioned<Volume>[];
  /** By id or name. @throws `not-found` */
  volume(idOrName: string): Versioned<Volume>;
  createVolume(request: {
    name: string;
    sizeBytes: number;
    policy: Policy;
    /** Over those of the policy. */
    limits: LimitsChange;
  }): Promise<Volume>;
  /**
   * Changes what the volume may do; its head follows. With `policy` its limits are taken first.
   * Resolves when the record has them.
   */
  setLimits(
    idOrName: string,
    change: { policy: Policy | null; limits: LimitsChange },
  ): Promise<Volume>;
  /**
   * Attaches to `host` (this node, or another one that is asked) and resolves when the endpoint
   * serves. Idempotent.
   */
  attach(idOrName: string, host: string, signal: AbortSignal): Promise<Endpoint>;
  /**
   * Resolves when the endpoint is gone and its requests are settled. Detaching what is not attached
   * succeeds.
   */
  detach(idOrName: string, host: string, signal: AbortSignal): Promise<void>;
  /** Ends the open epoch and begins a new one. @throws `not-allowed` when nothing is open. */
  seal(idOrName: string, signal: AbortSignal): Promise<Volume>;
  /**
   * Makes a volume grow and tells what uses it. @throws `bad-input` when it is larger already,
   * `conflict` when it is being deleted.
   */
  extendVolume(idOrName: string, sizeBytes: number, signal: AbortSignal): Promise<Extended>;
  /** Reads every copy of every layer and compares; with `repair` mends what is damaged. */
  verify(
    idOrName: string,
    wishes: { seal: boolean; repair: boolean },
    signal: AbortSignal,
  ): Promise<Verification>;
  /**
   * Resolves when the record is a tombstone; files go in the background. `snapshots`: with all that
   * it has, unless one is protected; else it must have none.
   */
  deleteVolume(idOrName: string, options?: { snapshots: boolean }): Promise<void>;
  /** Work under way on this node (on all live nodes when `cluster`). */
  work(cluster: boolean): Promise<Work[]>;
  /** Events newer than `after`, oldest first. */
  eventsAfter(after: number): NodeEvent[];
  onEvent(listener: (event: NodeEvent) => void): () => void;

  /** Live migration and evacuation of guests; null where there is no libvirt to ask. */
  readonly moves: VmMoves | null;
  /** Volumes as disks of guests; null as for `moves`. */
  readonly vms: VmDisks | null;
  /** Checks and decisions of operators. */
  readonly operator: OperatorService;
  /** Attachments as block devices of their hosts. */
  readonly devices: DeviceService;
  readonly snapshots: SnapshotService;
  readonly views: ViewService;
  readonly changes: ChangeService;
  readonly space: SpaceService;
  /** Images, and files that become images or volumes; null where there is no pool for them. */
  readonly images: ImageService | null;
  /** Volumes from backups; null as for `images`. */
  readonly restores: RestoreService | null;
  /** Backups; null until the daemon works on them. */
  readonly backups: BackupService | null;
  /** Calls between nodes. */
  readonly peer: PeerService;
}

/**
 * `port`: the gateway that the asker's proxy is connected to. Null or another one: the proxy is new,
 * what its predecessor had under way is settled, and it gets a gateway of its own.
 */
export type GatewayRequest = { volume: string; session: string; port: number | null };
/** Where a session is served over TCP, and in which boot of that node. */
export type Gateway = { port: number; sizeBytes: number; boot: string };

export type GroupStep = 'ready' | 'hold' | 'keep' | 'drop';

export type LayerRequest = { volume: string; layer: string; epoch: number };

/** What other nodes ask of this one (design: prepare, fence, serve, copy). */
export interface PeerService {
  /** Makes the container of a layer about to be opened and exports it for writing. */
  prepareLayer(
    request: LayerRequest & { sizeBytes: number },
  ): Promise<{ pool: string; boot: string }>;
  /** Refuses all epochs below `epoch` from now on (protocol review, rule 7). */
  fence(request: { volume: string; epoch: number }): Promise<FenceAnswer>;
  /** Exports a clean sealed layer read-only. */
  serveLayer(request: LayerRequest): Promise<void>;
  /** Makes one session of this node's head reachable over TCP, for one proxy. */
  openGateway(request: GatewayRequest): Promise<Gateway>;
  /** Chunk hashes of a clean sealed layer. */
  manifest(request: LayerRequest): Promise<Manifest>;
  /** Reads and hashes this node's copy of a sealed layer anew; `root` is what it should be. */
  verifyLayer(
    request: LayerRequest & { root: string | null },
    signal: AbortSignal,
  ): Promise<CopyCheck>;
  /** Reads bytes of a clean sealed layer's container; at most 4 MiB. */
  readLayer(request: LayerRequest & { offset: number; length: number }): Promise<Buffer>;
  work(): Work[];
  attach(volumeId: string): Promise<Endpoint>;
  detach(volumeId: string): Promise<void>;
  /** Makes the block device of this node's attachment, or finds it. */
  makeDevice(request: {
    volume: string;
    name?: string;
  }): Promise<{ device: string; link: string | null }>;
  /** Takes it away; none is fine. @throws `in-use` unless `force` */
  removeDevice(request: { volume: string; force: boolean }): Promise<void>;
  seal(volumeId: string): Promise<void>;
  /**
   * A step of sealing a volume, which this node writes, at one instant with others: when it is ready
   * for the next head; when its writes are held; when they go on, with or without the snapshot.
   */
  groupSeal(request: {
    volume: string;
    group: string;
    snapshot: { id: string; name: string; createdAt: string; group?: string };
    step: GroupStep;
  }): Promise<{ kept: boolean }>;
  /** Begins an epoch with a layer of that size on this node, which is the writer. */
  extend(request: { volume: string; sizeBytes: number }): Promise<void>;
  /** Tells what uses the volume on this node how large it is now. */
  resizeConsumers(request: { volume: string }): Promise<Consumer[]>;
  /** How many consumers are connected to the attachment of this node. */
  connections(request: { volume: string }): Promise<{ connections: number }>;
  /** What lies in this node's pool and runs here, of one volume or of all. */
  inspect(request: { volume?: string }): Promise<Inspection>;
  /** What the files of this node's pool take: of some volumes, or of all. */
  measurePool(request: { volumes?: string[] }): Promise<PoolMeasureHere>;
  /** Puts a file of the pool aside that no record places there. @throws `conflict` if one does */
  quarantine(request: { path: string }): Promise<{ path: string | null }>;
  /** Resolves when this node's head serves the session no longer, or has none. */
  revoked(request: { volume: string; session: string }): Promise<void>;
}

/** What a node's copy of a sealed layer holds now. */
export type CopyCheck =
  | { state: 'missing' }
  | {
      state: 'read';
      root: string;
      lengthBytes: number;
      allocatedBytes: number;
      /** As in a manifest, `unreadable` where the disk returned nothing; null when `root` was expected. */
      chunks: (string | null)[] | null;
    };

export type FenceAnswer = { pool: string; boot: string; layers: string[] };

/**
 * What a sealed layer's container holds: the sha256 of every chunk, null where the chunk is all
 * zeros or beyond the data; `root` is the sha256 over them all.
 */
export type Manifest = {
  layer: string;
  chunkBytes: number;
  lengthBytes: number;
  allocatedBytes: number;
  root: string;
  chunks: (string | null)[];
};
