import type { ChangeVolumeRequest } from '../api/change-schemas.ts';
import type { DeviceAnswer } from '../api/device-schemas.ts';
import type { DrainAnswer } from '../api/drain-schemas.ts';
import type { ExtendedAnswer } from '../api/extend-schemas.ts';
import type { GroupSnapshotAnswer, GroupSnapshotRequest } from '../api/group-snapshot-schemas.ts';
import type {
  AdoptedVolumeAnswer,
  ImageAnswer,
  ImportedImageAnswer,
  ImportWishes,
} from '../api/image-schemas.ts';
import type {
  FsckAnswer,
  LossAnswer,
  RemovalAnswer,
  RemovedAnswer,
} from '../api/operator-schemas.ts';
import type { LimitsAnswer, LimitsRequest } from '../api/qos-schemas.ts';
import type { RecoveryAnswer } from '../api/recover-schemas.ts';
import type { RestoreWishes } from '../api/restore-schemas.ts';
import type { ViewAnswer } from '../api/routes/views.ts';
import type {
  ClusterAnswer,
  EndpointAnswer,
  LayerAnswer,
  NodeAnswer,
  PolicyAnswer,
  ReportAnswer,
  VerificationAnswer,
  VolumeAnswer,
  VolumeDetailAnswer,
  WorkAnswer,
} from '../api/schemas.ts';
import type { CreateVolumeRequest, SnapshotAnswer } from '../api/snapshot-schemas.ts';
import type {
  ClusterSpaceAnswer,
  NodeSpaceAnswer,
  VolumeSpaceAnswer,
} from '../api/space-schemas.ts';
import type {
  CancelledAnswer,
  EvacuatedAnswer,
  MigratedAnswer,
  MigrationAnswer,
} from '../api/vm-move-schemas.ts';
import type {
  AttachDiskRequest,
  DiskRequest,
  DiskXmlAnswer,
  VmDiskAnswer,
  VmListAnswer,
} from '../api/vm-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { BackupCalls } from './backup-calls.ts';
import { type StreamItem, streamItems } from './event-reader.ts';
import type { FileCall } from './send-file.ts';
import { Transport } from './transport.ts';

/** A file that is sent, and its length. */
export type SentFile = Omit<FileCall, 'path'>;

/** What follows the question mark. */
type Query = Readonly<Record<string, string>>;

/** The API, typed; see `/openapi.json` for what each call does. */
export class Client {
  readonly backups: BackupCalls;
  readonly #transport: Transport;

  constructor(options: ConstructorParameters<typeof Transport>[0]) {
    this.#transport = new Transport(options);
    this.backups = new BackupCalls(this.#transport);
  }

  cluster(): Promise<ClusterAnswer> {
    return this.#transport.ask({ method: 'GET', path: '/v1/cluster' });
  }

  recover(body: {
    dryRun: boolean;
    acceptDataLoss: boolean;
    digest?: string;
  }): Promise<RecoveryAnswer> {
    return this.#transport.ask({ method: 'POST', path: '/v1/cluster/recover', body });
  }

  nodes(): Promise<{ nodes: NodeAnswer[] }> {
    return this.#transport.ask({ method: 'GET', path: '/v1/nodes' });
  }

  node(name: string): Promise<NodeAnswer> {
    return this.#transport.ask({ method: 'GET', path: `/v1/nodes/${part('node', name)}` });
  }

  space(volumes: boolean): Promise<ClusterSpaceAnswer> {
    const path = `/v1/space${volumes ? '?volumes=true' : ''}`;
    return this.#transport.ask({ method: 'GET', path });
  }

  nodeSpace(name: string): Promise<NodeSpaceAnswer> {
    return this.#transport.ask({ method: 'GET', path: `/v1/nodes/${part('node', name)}/space` });
  }

  volumeSpace(volume: string): Promise<VolumeSpaceAnswer> {
    return this.#transport.ask({ method: 'GET', path: `${volumePath(volume)}/space` });
  }

  policies(): Promise<{ policies: PolicyAnswer[] }> {
    return this.#transport.ask({ method: 'GET', path: '/v1/policies' });
  }

  work(): Promise<{ work: WorkAnswer[] }> {
    return this.#transport.ask({ method: 'GET', path: '/v1/work' });
  }

  volumes(query: Query = {}): Promise<{ volumes: VolumeAnswer[]; next?: string }> {
    return this.#transport.ask({ method: 'GET', path: `/v1/volumes?${queryOf(query)}` });
  }

  volume(volume: string): Promise<VolumeDetailAnswer> {
    return this.#transport.ask({ method: 'GET', path: volumePath(volume) });
  }

  health(volume: string): Promise<ReportAnswer> {
    return this.#transport.ask({ method: 'GET', path: `${volumePath(volume)}/health` });
  }

  layers(volume: string): Promise<{ layers: LayerAnswer[] }> {
    return this.#transport.ask({ method: 'GET', path: `${volumePath(volume)}/layers` });
  }

  create(body: CreateVolumeRequest): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'POST', path: '/v1/volumes', body });
  }

  delete(volume: string, { snapshots = false } = {}): Promise<void> {
    const path = `${volumePath(volume)}${snapshots ? '?snapshots=true' : ''}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  /** A volume that begins with what another one, a snapshot of it or an image holds. */
  clone({
    from,
    ...rest
  }: Omit<CreateVolumeRequest, 'source'> & {
    from: { volume: string; snapshot?: string };
  }): Promise<VolumeAnswer> {
    return this.create({ ...rest, source: from });
  }

  snapshots(
    volume: string,
    query: Query = {},
  ): Promise<{ snapshots: SnapshotAnswer[]; next?: string }> {
    const path = `${volumePath(volume)}/snapshots?${queryOf(query)}`;
    return this.#transport.ask({ method: 'GET', path });
  }

  /** Those of all volumes. */
  allSnapshots(query: Query): Promise<{ snapshots: SnapshotAnswer[]; next?: string }> {
    return this.#transport.ask({ method: 'GET', path: `/v1/snapshots?${queryOf(query)}` });
  }

  snapshot(volume: string, snapshot: string): Promise<SnapshotAnswer> {
    return this.#transport.ask({ method: 'GET', path: snapshotPath(volume, snapshot) });
  }

  createSnapshot(volume: string, name: string | undefined): Promise<SnapshotAnswer> {
    const body = name === undefined ? {} : { name };
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/snapshots`, body });
  }

  createGroupSnapshot(body: GroupSnapshotRequest): Promise<GroupSnapshotAnswer> {
    return this.#transport.ask({ method: 'POST', path: '/v1/snapshots', body });
  }

  protectSnapshot(volume: string, snapshot: string, isProtected: boolean): Promise<SnapshotAnswer> {
    const body = { protected: isProtected };
    return this.#transport.ask({ method: 'PATCH', path: snapshotPath(volume, snapshot), body });
  }

  deleteSnapshot(volume: string, snapshot: string): Promise<void> {
    return this.#transport.ask({ method: 'DELETE', path: snapshotPath(volume, snapshot) });
  }

  revert(volume: string, snapshot: string): Promise<VolumeAnswer> {
    const path = `${snapshotPath(volume, snapshot)}/revert`;
    return this.#transport.ask({ method: 'POST', path });
  }

  attachSnapshot(volume: string, snapshot: string, host?: string): Promise<EndpointAnswer> {
    const body = host === undefined ? {} : { host };
    const path = `${snapshotPath(volume, snapshot)}/attachments`;
    return this.#transport.ask({ method: 'POST', path, body });
  }

  detachSnapshot(volume: string, snapshot: string, host: string): Promise<void> {
    const path = `${snapshotPath(volume, snapshot)}/attachments/${part('node', host)}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  /** Something to read on this node; null: what the volume holds now. */
  openView(volume: string, snapshot: string | null): Promise<ViewAnswer> {
    const body = snapshot === null ? {} : { snapshot };
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/views`, body });
  }

  closeView(volume: string, view: string): Promise<void> {
    const path = `${volumePath(volume)}/views/${part('view', view)}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  attach(volume: string, host: string | undefined): Promise<EndpointAnswer> {
    const body = host === undefined ? {} : { host };
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/attachments`, body });
  }

  detach(volume: string, host: string): Promise<void> {
    const path = `${volumePath(volume)}/attachments/${part('node', host)}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  makeDevice(volume: string, host: string, name: string | undefined): Promise<DeviceAnswer> {
    const body = name === undefined ? {} : { name };
    return this.#transport.ask({ method: 'PUT', path: devicePath(volume, host), body });
  }

  removeDevice(volume: string, host: string, force: boolean): Promise<void> {
    const path = `${devicePath(volume, host)}${force ? '?force=true' : ''}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  /** Revokes an attachment without asking its host. */
  forceDetach(volume: string, host: string): Promise<void> {
    const path = `${volumePath(volume)}/attachments/${part('node', host)}?force=true`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  fsck(body: { volume?: string; repair?: boolean }): Promise<FsckAnswer> {
    return this.#transport.ask({ method: 'POST', path: '/v1/cluster/fsck', body });
  }

  loss(volume: string): Promise<LossAnswer> {
    return this.#transport.ask({ method: 'GET', path: `${volumePath(volume)}/loss` });
  }

  force(
    volume: string,
    body: { believed: { layer: string; node: string }[]; dropped: string[]; by: string },
  ): Promise<VolumeDetailAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/force`, body });
  }

  removal(node: string): Promise<RemovalAnswer> {
    return this.#transport.ask({ method: 'GET', path: `/v1/nodes/${part('node', node)}/removal` });
  }

  removeNode(
    node: string,
    decision: { acceptDataLoss: boolean; by: string },
  ): Promise<RemovedAnswer> {
    const { acceptDataLoss, by } = decision;
    const query = new URLSearchParams({ acceptDataLoss: String(acceptDataLoss), by });
    const path = `/v1/nodes/${part('node', node)}?${query}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  drain(node: string, body: { partial: boolean; by: string }): Promise<DrainAnswer> {
    return this.#transport.ask({ method: 'PUT', path: drainPath(node), body });
  }

  drainOf(node: string): Promise<DrainAnswer> {
    return this.#transport.ask({ method: 'GET', path: drainPath(node) });
  }

  undrain(node: string): Promise<DrainAnswer> {
    return this.#transport.ask({ method: 'DELETE', path: drainPath(node) });
  }

  change(volume: string, body: ChangeVolumeRequest): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'PATCH', path: volumePath(volume), body });
  }

  flatten(volume: string): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/flatten` });
  }

  cancelFlatten(volume: string): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'DELETE', path: `${volumePath(volume)}/flatten` });
  }

  compact(volume: string): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/compact` });
  }

  cancelCompact(volume: string): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'DELETE', path: `${volumePath(volume)}/compact` });
  }

  extend(volume: string, sizeBytes: number): Promise<ExtendedAnswer> {
    const body = { sizeBytes };
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/extend`, body });
  }

  limits(volume: string): Promise<LimitsAnswer> {
    return this.#transport.ask({ method: 'GET', path: `${volumePath(volume)}/qos` });
  }

  setLimits(volume: string, body: LimitsRequest & { policy?: string }): Promise<LimitsAnswer> {
    return this.#transport.ask({ method: 'PATCH', path: `${volumePath(volume)}/qos`, body });
  }

  seal(volume: string): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/seal` });
  }

  verify(volume: string, body: { seal: boolean; repair: boolean }): Promise<VerificationAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/verify`, body });
  }

  images(query: Query = {}): Promise<{ images: ImageAnswer[]; next?: string }> {
    return this.#transport.ask({ method: 'GET', path: `/v1/images?${queryOf(query)}` });
  }

  image(image: string): Promise<ImageAnswer> {
    return this.#transport.ask({ method: 'GET', path: `/v1/images/${part('image', image)}` });
  }

  deleteImage(image: string): Promise<void> {
    return this.#transport.ask({ method: 'DELETE', path: `/v1/images/${part('image', image)}` });
  }

  importImage(wishes: ImportWishes, file: SentFile): Promise<ImportedImageAnswer> {
    return this.#transport.send({ path: `/v1/images?${queryOf(wishes)}`, ...file });
  }

  adoptVolume(wishes: ImportWishes, file: SentFile): Promise<AdoptedVolumeAnswer> {
    return this.#transport.send({ path: `/v1/volumes/adopt?${queryOf(wishes)}`, ...file });
  }

  restore(body: RestoreWishes): Promise<VolumeAnswer> {
    return this.#transport.ask({ method: 'POST', path: '/v1/volumes/restore', body });
  }

  vms(scope: 'node' | 'cluster'): Promise<VmListAnswer> {
    return this.#transport.ask({ method: 'GET', path: `/v1/vms?scope=${scope}` });
  }

  attachDisk(vm: string, body: AttachDiskRequest): Promise<VmDiskAnswer> {
    return this.#transport.ask({ method: 'POST', path: disksPath(vm), body });
  }

  /** @param guestSeconds how long the guest may take to let go. */
  detachDisk(vm: string, volume: string, guestSeconds: number): Promise<VmDiskAnswer> {
    const disk = `${disksPath(vm)}/${part('volume', volume)}`;
    const path = `${disk}?guestSeconds=${guestSeconds}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }

  defineDisk(volume: string, body: DiskRequest): Promise<DiskXmlAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${volumePath(volume)}/disk`, body });
  }

  migrate(vm: string, to: string): Promise<MigratedAnswer> {
    const body = { to, live: true };
    return this.#transport.ask({ method: 'POST', path: migrationPath(vm), body });
  }

  migration(vm: string): Promise<MigrationAnswer> {
    return this.#transport.ask({ method: 'GET', path: migrationPath(vm) });
  }

  cancelMigration(vm: string): Promise<CancelledAnswer> {
    return this.#transport.ask({ method: 'DELETE', path: migrationPath(vm) });
  }

  evacuate(node: string, body: { to?: string; vm?: string }): Promise<EvacuatedAnswer> {
    const path = `/v1/nodes/${part('node', node)}/evacuate`;
    return this.#transport.ask({ method: 'POST', path, body });
  }

  /** The node that answers. */
  async thisNode(): Promise<string> {
    const health: { node: string } = await this.#transport.ask({
      method: 'GET',
      path: '/v1/health',
    });
    return health.node;
  }

  /**
   * Follows events; resolves once nothing that happens from then on is left out.
   * @param options.after send kept events newer than this id first; null: only new ones.
   * @returns events until the connection ends, which is `unavailable`.
   */
  async events(options: {
    after: number | null;
    volume: string | undefined;
    type?: string | undefined;
  }): Promise<AsyncGenerator<StreamItem, never>> {
    const { after, volume, type } = options;
    const query = queryOf({
      ...(after === null ? {} : { after: String(after) }),
      ...(volume === undefined ? {} : { volume }),
      ...(type === undefined ? {} : { type }),
    });
    const response = await this.#transport.open(`/v1/events?${query}`);
    return this.#transport.untilEnd(streamItems(response));
  }

  /** The events that the node still keeps. */
  keptEvents(query: Query = {}): Promise<{ events: StreamItem[]; next?: string }> {
    const path = `/v1/events?${queryOf({ follow: 'false', ...query })}`;
    return this.#transport.ask({ method: 'GET', path });
  }
}

function drainPath(node: string): string {
  return `/v1/nodes/${part('node', node)}/drain`;
}

function queryOf(wishes: Query | ImportWishes): URLSearchParams {
  return new URLSearchParams(Object.entries(wishes));
}

function devicePath(volume: string, host: string): string {
  return `${volumePath(volume)}/attachments/${part('node', host)}/device`;
}

function volumePath(volume: string): string {
  return `/v1/volumes/${part('volume', volume)}`;
}

function snapshotPath(volume: string, snapshot: string): string {
  return `${volumePath(volume)}/snapshots/${part('snapshot', snapshot)}`;
}

function disksPath(vm: string): string {
  return `/v1/vms/${part('vm', vm)}/disks`;
}

function migrationPath(vm: string): string {
  return `/v1/vms/${part('vm', vm)}/migrate`;
}

/** One part of a path. `.` and `..` would be resolved away, and then another thing be asked for. */
function part(what: string, value: string): string {
  if (value === '' || value === '.' || value === '..') {
    throw new HyperscaleError(
      'bad-input',
      `${JSON.stringify(value)} is not the name of a ${what}`,
      {
        hint: `hscli ${what} list${what === 'snapshot' ? ' VOLUME' : ''} shows all.`,
      },
    );
  }
  return encodeURIComponent(value);
}
