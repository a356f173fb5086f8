import type { BootId, LayerId, Limits, SessionId, VolumeId } from '../volume/types.ts';
import type { ImageSource } from './image-source.ts';

/**
 * What a node's agent asks of QEMU. The real one starts `qemu-storage-daemon` processes; the
 * simulator will pass its own. Everything is named by volume and layer, so that a restarted agent
 * finds what runs without remembering it (`adopt`).
 */
export type LayerKey = { volume: VolumeId; layer: LayerId; epoch: number };

/** Where a head finds one layer. */
export type LayerSource =
  /** The open layer: this node's file and the peers' exports, all of which must have a write. */
  {
    layer: LayerKey;
    local: boolean;
    peers: PeerExport[];
    /** The peer serves what guests see of it, from a backup, in place of a layer's file. */
    fromBackup?: true;
  };

/** An export of a peer's replica server; its name is the layer id. */
export type PeerExport = {
  node: string;
  /** That node's boot when it was asked to export; null when nothing was known of it. */
  boot: BootId | null;
  address: string;
  port: number;
};

export type HeadSpec = {
  volume: VolumeId;
  sizeBytes: number;
  limits: Limits;
  /** Sealed layers, oldest first: exactly one place each (local, or one peer). */
  sealed: LayerSource[];
  open: LayerSource;
  /** Export names, one per attachment session. */
  sessions: SessionId[];
  /** Exports refuse writes. */
  readOnly?: true;
};

export type HeadState = {
  volume: VolumeId;
  layer: LayerId;
  epoch: number;
  /** What its consumers see. */
  sizeBytes: number;
  pid: number;
  /** Sessions exported now. */
  sessions: SessionId[];
  /** Sealed layers in the graph, oldest first, and the peer each is read from (null: local file). */
  sealed: {
    layer: LayerId;
    from: string | null;
    fromBoot: BootId | null;
    /** Where a backup serves its content in place of a copy; absent: a copy is read. */
    backupPort?: number;
  }[];
  /** Members other than this node. */
  peers: string[];
  /** What it lets through. */
  limits: Limits;
};

export type HeadFault =
  | { kind: 'died' }
  /** A member answered a write or flush with an error. `node` null: this node's own file. */
  | { kind: 'member-error'; node: string | null; error: string };

export interface HeadHandle {
  readonly state: HeadState;
  /** Called once for every fault; a fault seen before the call is delivered at once. */
  onFault(listener: (fault: HeadFault) => void): void;
  addSession(session: SessionId): Promise<void>;
  /** Resolves when the export is gone and its requests are settled. */
  removeSession(session: SessionId, timeoutMs: number): Promise<void>;
  /** From now on it lets this much through; requests that wait are not lost. */
  setLimits(limits: Limits): Promise<void>;
  /**
   * Removes all exports, waits for their requests, and ends the process.
   * @returns true when it ended by itself within the time without any member error (every member
   * then holds the same), false when it did not end in time; it is then still running, without
   * exports perhaps, and the caller kills it.
   */
  stop(timeoutMs: number): Promise<boolean>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** How many connections it serves now; a gateway on this host is one too. */
  connections(): number;
}

/** A start in two halves: the listener stands (consumers queue), then the graph is built. */
export interface PreparedHead {
  /**
   * Starts to serve. The old head must be dead and the epoch confirmed. Faster when `spec` is what
   * was expected.
   */
  serve(spec: HeadSpec): Promise<HeadHandle>;
  abandon(): Promise<void>;
}

export interface Engine {
  /** Finds what an earlier run of the daemon left running. */
  adopt(): Promise<{ heads: HeadHandle[]; proxies: ProxyHandle[]; gateways: GatewayHandle[] }>;
  /**
   * Puts the listener of the volume's attachment socket in place. While an old head lives it must be
   * a `new` one, or the old head would accept and refuse its consumers; after a head died, the
   * `waiting` one has the consumers that came meanwhile in its queue.
   * @param expected what it will most likely serve: its process is started then, but opens nothing.
   */
  prepareHead(
    volume: VolumeId,
    listener?: 'new' | 'waiting',
    expected?: HeadSpec,
  ): Promise<PreparedHead>;
  /** Volumes that have a socket on this node. */
  attachSockets(): VolumeId[];
  /** The consumer's socket of a volume on this node. */
  attachSocket(volume: VolumeId): string;
  /**
   * Starts to forward the volume's attachment socket.
   * @param where told as soon as it is known; when it rejects, so does this, and nothing runs.
   * @param listens called when the socket stands: who connects from then on waits to be served.
   * @param signal gives up while the gateway is not reached.
   * @throws `engine` when the gateway is not reached, or why it was aborted
   */
  startProxy(
    volume: VolumeId,
    where: Promise<ProxySpec>,
    listens: () => void,
    signal: AbortSignal,
  ): Promise<ProxyHandle>;
  /**
   * @param sizeBytes what the head shows; a relay keeps the size that it began with.
   * @param options.port the port of one that died, so that its proxy finds it again; else a free one.
   * @param options.readOnly the head refuses writes.
   */
  startGateway(
    volume: VolumeId,
    session: SessionId,
    sizeBytes: number,
    options?: { port?: number; readOnly?: true },
  ): Promise<GatewayHandle>;
  /** Removes the socket of a volume that is no longer attached here. */
  removeAttachSocket(volume: VolumeId): Promise<void>;
  readonly replicas: ReplicaServer;
  readonly layers: LayerStore;
}

/** On a consumer's host: forwards the attachment's socket to the gateway of the head's node. */
export type ProxySpec = {
  volume: VolumeId;
  session: SessionId;
  address: string;
  port: number;
  /** The node whose head is behind that gateway; kept so that an adopted proxy is known. */
  headNode: string;
  /** That node's boot in which the gateway was asked for: one of another boot is not connected to. */
  boot: BootId;
  /** What the gateway shows, and so the consumer sees. */
  sizeBytes: number;
  /** The head refuses writes. */
  readOnly?: true;
};
export interface ProxyHandle {
  readonly spec: ProxySpec;
  onExit(listener: () => void): void;
  kill(): Promise<void>;
  /** How many connections it serves now. */
  connections(): number;
}

/** On the head's node: makes one session of the head reachable over TCP. */
export interface GatewayHandle {
  readonly volume: VolumeId;
  readonly session: SessionId;
  readonly port: number;
  readonly sizeBytes: number;
  onExit(listener: () => void): void;
  kill(): Promise<void>;
}

/** The node's one process that exports layer files to peers. */
export interface ReplicaServer {
  /** Starts it, or adopts the running one. Restarts it whenever it dies, with its exports. */
  start(): Promise<void>;
  /** Exports a layer's file; idempotent. A writable one honours flushes. */
  export(key: LayerKey, writable: boolean): Promise<void>;
  /**
   * Drops an export and waits until its received requests are finished; absent is fine. When that
   * takes longer than `timeoutMs` the whole server is killed and restarted without it, which
   * peers of other layers see as a short reconnect.
   */
  unexport(layer: LayerId, timeoutMs: number): Promise<void>;
  /** What is exported now. */
  exports(): { key: LayerKey; writable: boolean }[];
  kill(): Promise<void>;
}

export type Extent = { offset: number; length: number };

/** A layer's file as it is found in a pool. `writtenAt`: ISO 8601, when it was last written to. */
export type LayerFile = LayerKey & {
  lengthBytes: number;
  allocatedBytes: number;
  writtenAt: string;
};

/** Everything that lies in a node's pool. */
export type PoolInventory = {
  layers: LayerFile[];
  /** Paths below the pool of what lies among the layers and is none. */
  strays: string[];
  fences: { volume: VolumeId; epoch: number }[];
  /** Layers that a head has opened in this boot. */
  burnt: LayerId[];
  spares: number;
  /** Names in `quarantine/`. */
  quarantined: string[];
};

/** A kept record of a volume; `text` null when its file cannot be read, or is absurdly long. */
export type KeptRecord = { volume: VolumeId; text: string | null };

/** `rewrite`: what was given back within the oldest layer takes no space either; one layer will do. */
export type MergeOptions = {
  rewrite?: boolean;
  progress?: (doneBytes: number, totalBytes: number) => void;
};

/** The layer files of this node's pool. */
export interface LayerStore {
  /** Creates the container (from a spare when one fits), durable when it returns; idempotent. */
  create(key: LayerKey, sizeBytes: number): Promise<void>;
  /** Sparse empty file of the container's length, for a copy to be filled; idempotent. */
  createEmpty(key: LayerKey, sizeBytes: number): Promise<void>;
  /** Keeps a spare container of each of these sizes ready, drops others. Background work. */
  keepSpares(sizesBytes: number[]): Promise<void>;
  exists(key: LayerKey): Promise<boolean>;
  path(key: LayerKey): string;
  /** fsync of the file and its directory. */
  sync(key: LayerKey): Promise<void>;
  remove(key: LayerKey): Promise<void>;
  /** Every layer file of a volume that lies in the pool. */
  list(volume: VolumeId): Promise<LayerKey[]>;
  /** Volumes of which anything lies in the pool. */
  volumes(): Promise<VolumeId[]>;
  /** Marks a layer as opened by a head (a layer is opened by at most one). True when it was new. */
  burn(key: LayerKey): Promise<boolean>;
  isBurnt(key: LayerKey): Promise<boolean>;
  /** Durable: this node refuses epochs of the volume below `epoch`. Never goes down. */
  setFence(volume: VolumeId, epoch: number): Promise<void>;
  fence(volume: VolumeId): Promise<number>;
  removeFence(volume: VolumeId): Promise<void>;
  /**
   * Keeps a text beside the layers of a volume in place of the one before. Durable when it returns:
   * after a power cut the whole old or the whole new text is there. Callers take turns per volume.
   */
  keepRecord(volume: VolumeId, text: string): Promise<void>;
  /** The text kept for one volume; null when there is none or it cannot be read. */
  record(volume: VolumeId): Promise<string | null>;
  /** Everything that `keepRecord` has put into the pool, by volume. */
  records(): Promise<KeptRecord[]>;
  /** Forgets the text of a volume; absent is fine. */
  removeRecord(volume: VolumeId): Promise<void>;
  /** Parts of the file that hold data (everything else reads as zeros). */
  extents(key: LayerKey): Promise<Extent[]>;
  /** Builds `into` from adjacent sealed layers, oldest first; durable when it returns. */
  merge(
    layers: LayerKey[],
    into: LayerKey,
    sizeBytes: number,
    signal: AbortSignal,
    options?: MergeOptions,
  ): Promise<void>;
  /**
   * Builds a sealed layer of `sizeBytes` that shows what an image file shows; durable when it returns.
   * @param progress told the part that is done, 0 to 1.
   * @throws `no-space`, `cancelled`, `bad-input` when the image cannot be read to its end.
   */
  importFile(
    into: LayerKey,
    source: ImageSource,
    sizeBytes: number,
    signal: AbortSignal,
    progress?: (part: number) => void,
  ): Promise<void>;
  /** What lies in the pool, of one volume or of all. */
  inventory(volume?: VolumeId): Promise<PoolInventory>;
  /**
   * Puts a file aside: nothing uses it any more, and nothing is lost. Absent is fine.
   * @param path below the pool, as in `PoolInventory.strays`.
   * @returns where it lies now, below the pool; null when there was none.
   */
  quarantine(path: string): Promise<string | null>;
  /** The path of a layer's file below the pool. */
  pathInPool(key: LayerKey): string;
  /** Bytes of the file system under the pool. */
  space(): Promise<{ totalBytes: number; freeBytes: number }>;
}
