import type { BackupService } from '../api/backup-service.ts';
import type { ChangeService } from '../api/change-service.ts';
import type { DeviceService } from '../api/device-service.ts';
import type { ImageService } from '../api/image-service.ts';
import type { OperatorService } from '../api/operator-service.ts';
import type { RestoreService } from '../api/restore-service.ts';
import type {
  Endpoint,
  Extended,
  NodeEvent,
  NodeService,
  PeerService,
  Work,
} from '../api/service.ts';
import type { SnapshotService } from '../api/snapshot-service.ts';
import type { ViewService } from '../api/view-service.ts';
import type { Verification } from '../cluster/verify.ts';
import { HyperscaleError } from '../errors.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { Retirement } from '../store/retirement.ts';
import type { Versioned } from '../store/store.ts';
import type { VmMoves } from '../vm/moves.ts';
import type { VmDisks } from '../vm/vms.ts';
import { detach } from '../volume/attach.ts';
import { createVolume } from '../volume/create.ts';
import { isGone, markDeleted } from '../volume/delete.ts';
import {
  changedLimits,
  changeLimits,
  type LimitsChange,
  limitsOf,
  policyLimits,
} from '../volume/limits.ts';
import { attachmentOn, writerOf } from '../volume/queries.ts';
import { stopWaiting } from '../volume/retire.ts';
import { withoutSnapshots } from '../volume/snapshots.ts';
import type { NodeView, Policy, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { Changes } from './changes.ts';
import type { Context } from './context.ts';
import { HostDevices } from './device-service.ts';
import { extendVolume } from './extend-volume.ts';
import { findVolume } from './find-volume.ts';
import { Operator } from './operator.ts';
import { PeerCalls } from './peer-calls.ts';
import { assertRoomForVolume } from './room-for-volume.ts';
import { Snapshots } from './snapshots.ts';
import { Space } from './space.ts';
import { checksumsRecorded, verifyVolume } from './verify.ts';
import { Views } from './views.ts';
import { mustNotBeShown } from './views-of.ts';

/** What one node's daemon does for the API. */
export class Service implements NodeService {
  readonly nodeName: string;
  readonly version: string;
  readonly operator: OperatorService;
  readonly devices: DeviceService;
  readonly snapshots: SnapshotService;
  readonly views: ViewService;
  readonly changes: ChangeService;
  readonly space: Space;
  readonly peer: PeerService;
  readonly recovery: Recovery | null;
  /** Set by the daemon, which reads it. */
  secret = '';
  /** Set by the daemon, which knows this node's libvirt. */
  moves: VmMoves | null = null;
  vms: VmDisks | null = null;
  /** Set by the daemon, which knows this node's pool. */
  images: ImageService | null = null;
  restores: RestoreService | null = null;
  backups: BackupService | null = null;
  readonly #agent: Agent;
  readonly #context: Context;

  constructor(
    agent: Agent,
    version: string,
    newVolumeId: () => string,
    retirement: Retirement,
    recovery: Recovery | null = null,
  ) {
    this.#agent = agent;
    this.#context = agent.context;
    this.nodeName = agent.context.self.node;
    this.version = version;
    this.peer = new PeerCalls(agent);
    this.#newVolumeId = newVolumeId;
    this.devices = new HostDevices(agent);
    this.snapshots = new Snapshots(agent, this.peer, newVolumeId);
    this.views = new Views(agent, newVolumeId);
    this.changes = new Changes(agent);
    this.space = new Space(agent, agent.context.poolLimits);
    this.operator = new Operator(agent, retirement);
    this.#retirement = retirement;
    this.recovery = recovery;
  }

  readonly #newVolumeId: () => string;
  readonly #retirement: Retirement;
  /** The volume that is being verified: one at a time, so that calls between nodes stay few. */
  #verified: string | null = null;

  storeConnected(): boolean {
    return this.#context.store.connected();
  }

  quarantine(): string | null {
    // Until what runs here is adopted, nothing may be started beside it.
    return this.#context.store.quarantine() ?? (this.#agent.started ? null : 'work begins now');
  }

  clusterId(): string {
    return this.#context.store.clusterId();
  }

  nodes(): NodeView[] {
    return this.#context.store.nodes();
  }

  volumes(): Versioned<Volume>[] {
    return this.#context.store.volumes();
  }

  volume(idOrName: string): Versioned<Volume> {
    return findVolume(this.#context.store, idOrName);
  }

  async createVolume(request: {
    name: string;
    sizeBytes: number;
    policy: Policy;
    limits: LimitsChange;
  }): Promise<Volume> {
    const limits = changedLimits(policyLimits(request.policy), request.limits);
    assertRoomForVolume(this.volumes().length, this.nodes(), request.policy);
    const volume = createVolume({
      id: this.#newVolumeId(),
      ...request,
      limits,
      createdAt: this.#context.environment.now(),
    });
    const operation = this.#context.environment.randomId();
    return (await this.#context.store.create({ ...volume, operation })).value;
  }

  async attach(idOrName: string, host: string, signal: AbortSignal): Promise<Endpoint> {
    const { value } = this.volume(idOrName);
    if (host === this.nodeName) return this.#agent.attach(value.id, signal);
    this.#mustBeUp(host);
    return this.#context.peers.of(host, { signal }).attach(value.id);
  }

  async detach(idOrName: string, host: string, signal: AbortSignal): Promise<void> {
    const { value } = this.volume(idOrName);
    if (host === this.nodeName) return this.#agent.detach(value.id, signal);
    const node = this.#known(host);
    if (attachmentOn(value, host) === undefined) {
      const newest = await this.#context.store.readVolume(value.id);
      if (newest === undefined || attachmentOn(newest.value, host) === undefined) return;
    }
    if (node.lease !== null) {
      await this.#context.peers.of(host, { signal }).detach(value.id);
      return;
    }
    // Its consumer is gone with its host; the record alone decides that it never comes back.
    await this.#agent.worker(value.id).change((v) => detach(v, host));
  }

  async setLimits(
    idOrName: string,
    change: { policy: Policy | null; limits: LimitsChange },
  ): Promise<Volume> {
    const { value } = this.volume(idOrName);
    return this.#agent.worker(value.id).change((v) => {
      const from = change.policy === null ? limitsOf(v) : policyLimits(change.policy);
      return changeLimits(v, changedLimits(from, change.limits));
    });
  }

  async seal(idOrName: string, signal: AbortSignal): Promise<Volume> {
    const { value } = this.volume(idOrName);
    const writer = writerOf(value);
    if (writer === null || value.tail.phase !== 'open') {
      throw new HyperscaleError('not-allowed', `volume ${value.name} is ${value.tail.phase}`, {
        hint: 'Only a volume that is attached has an open layer to seal.',
      });
    }
    if (writer === this.nodeName)
      await this.#agent.worker(value.id).roll({ reason: 'seal' }, signal);
    else await this.#context.peers.of(writer, { signal }).seal(value.id);
    const now = await this.#context.store.readVolume(value.id);
    return now?.value ?? value;
  }

  async extendVolume(idOrName: string, sizeBytes: number, signal: AbortSignal): Promise<Extended> {
    const { value } = this.volume(idOrName);
    return extendVolume(this.#agent, value.id, sizeBytes, signal);
  }

  async verify(
    idOrName: string,
    { seal, repair }: { seal: boolean; repair: boolean },
    signal: AbortSignal,
  ): Promise<Verification> {
    const { value } = this.volume(idOrName);
    if (this.#verified !== null) {
      throw new HyperscaleError('conflict', `volume ${this.#verified} is being verified here`, {
        hint: 'Wait for it, or ask another node.',
      });
    }
    this.#verified = value.name;
    try {
      const worker = this.#agent.worker(value.id);
      if (seal) {
        const sealed = await this.seal(value.id, signal);
        await checksumsRecorded(worker, sealed, signal);
      }
      return await verifyVolume(worker, this.peer, repair, signal);
    } finally {
      this.#verified = null;
    }
  }

  async deleteVolume(idOrName: string, options?: { snapshots: boolean }): Promise<void> {
    const snapshots = options?.snapshots === true;
    const { value } = this.volume(idOrName);
    const { store } = this.#context;
    const newest = (await store.readVolume(value.id))?.value;
    if (newest !== undefined) await mustNotBeShown(store, newest, null);
    // Nobody waits for pools that were taken out for good.
    const gone = this.#retirement.retired().map((r) => r.pool);
    const deleted = await this.#agent
      .worker(value.id)
      .change((v) => gone.reduce(stopWaiting, markDeleted(snapshots ? withoutSnapshots(v) : v)));
    if (!isGone(deleted)) return;
    const record = store.volume(value.id);
    if (record !== undefined && isGone(record.value)) await store.remove(record);
  }

  async work(cluster: boolean): Promise<Work[]> {
    const mine = this.#agent.work.list();
    if (!cluster) return mine;
    const others = this.nodes()
      .filter((n) => n.name !== this.nodeName && n.lease !== null)
      .map(async (n) => {
        try {
          return await this.#context.peers.of(n.name, { timeoutMs: 1_000 }).work();
        } catch {
          // A node that does not answer now has nothing to show; its state is in the node list.
          return [];
        }
      });
    return [mine, ...(await Promise.all(others))].flat();
  }

  eventsAfter(after: number): NodeEvent[] {
    return this.#context.events.after(after);
  }

  onEvent(listener: (event: NodeEvent) => void): () => void {
    return this.#context.events.onEvent(listener);
  }

  #known(host: string): NodeView {
    const node = this.#context.store.node(host);
    if (node === undefined) {
      throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(host)}`, {
        hint: 'List them with: hscli node list',
      });
    }
    return node;
  }

  #mustBeUp(host: string): void {
    if (this.#known(host).lease === null) {
      throw new HyperscaleError('node-down', `node ${host} is down`, {
        hint: 'Start hyperscaled on it, or attach on another node.',
      });
    }
  }
}
