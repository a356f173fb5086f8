import type {
  Consumer,
  CopyCheck,
  Endpoint,
  FenceAnswer,
  Gateway,
  GatewayRequest,
  LayerRequest,
  Manifest,
  PeerService,
  Work,
} from '../api/service.ts';
import type { PoolMeasureHere } from '../api/space-service.ts';
import type { Inspection } from '../cluster/fsck-types.ts';
import { Serial } from '../engine/serial.ts';
import { HyperscaleError } from '../errors.ts';
import { replicaOn } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import type { Context } from './context.ts';
import { withDeadline } from './deadline.ts';
import type { Device } from './devices.ts';
import { fenceHere } from './fence-here.ts';
import { servesNot } from './force-detach.ts';
import { GroupSeals } from './group-snapshot.ts';
import { inspectHere } from './inspect.ts';
import { quarantineHere } from './inspect-quarantine.ts';
import { makeLayer } from './make-layer.ts';
import { connectionsHere } from './revert.ts';
import { settleSession } from './sessions.ts';
import { measureHere } from './space.ts';
import { verifyOwnCopy } from './verify-copy.ts';

/** At most this much of a layer in one answer. */
const maxReadBytes = 4 << 20;
/** An attach that is asked for by another node waits this long for the endpoint. */
const endpointTimeoutMs = 60_000;
/** A proxy that asks before its session is exported waits this long, and asks again. */
const gatewayWaitMs = 900;
/** Hashing a whole layer is given up after this; what was hashed is not kept. */
const manifestTimeoutMs = 600_000;

/** What this node does when another node's daemon asks. */
export class PeerCalls implements PeerService {
  readonly #agent: Agent;
  readonly #context: Context;
  readonly #verifying = new Serial();
  readonly #groupSeals: GroupSeals;

  constructor(agent: Agent) {
    this.#agent = agent;
    this.#context = agent.context;
    this.#groupSeals = new GroupSeals(agent);
  }

  async prepareLayer(
    request: LayerRequest & { sizeBytes: number },
  ): Promise<{ pool: string; boot: string }> {
    const { engine, self, store, withoutPool } = this.#context;
    if (withoutPool === true) {
      throw new HyperscaleError('not-allowed', `node ${self.node} has no pool and holds nothing`);
    }
    const worker = this.#agent.worker(request.volume);
    await worker.gate.run(async () => {
      // A delayed request must not make a layer that the record has dropped meanwhile.
      const record = await store.readVolume(request.volume);
      const tail = record?.value.tail;
      if (tail?.phase !== 'opening' || tail.next.id !== request.layer) {
        throw new HyperscaleError('conflict', `layer ${request.layer} is not being opened`);
      }
      const fence = await engine.layers.fence(request.volume);
      if (request.epoch < fence) {
        throw new HyperscaleError('conflict', `epoch ${request.epoch} is fenced here at ${fence}`);
      }
      await makeLayer(worker, layerKey(request), request.sizeBytes);
      await engine.replicas.export(layerKey(request), true);
    });
    return { pool: self.pool, boot: self.boot };
  }

  fence(request: { volume: string; epoch: number }): Promise<FenceAnswer> {
    return fenceHere(this.#agent.worker(request.volume), request.epoch);
  }

  async serveLayer(request: LayerRequest): Promise<void> {
    await this.#mustBeClean(request);
    await this.#keepNewest(request.volume);
    await this.#context.engine.replicas.export(layerKey(request), false);
  }

  async openGateway(request: GatewayRequest): Promise<Gateway> {
    const { boot } = this.#context.self;
    const worker = this.#agent.worker(request.volume);
    const serves = () => worker.head?.state.sessions.includes(request.session) === true;
    await this.#within(gatewayWaitMs, (signal) => worker.waitUntil(serves, signal));
    return worker.gate.run(async () => {
      const { volume, session, port } = request;
      const known = worker.gateways.get(session);
      // A relay shows the size that it began with: of a volume that has grown it is exchanged.
      const sizeBytes = worker.head?.state.sizeBytes ?? 0;
      if (known?.port === port && known.sizeBytes === sizeBytes) return { port, sizeBytes, boot };
      await settleSession(worker, session);
      const gateway = await this.#context.engine.startGateway(
        volume,
        session,
        sizeBytes,
        worker.shownAs,
      );
      worker.addGateway(gateway);
      return { port: gateway.port, sizeBytes, boot };
    });
  }

  async manifest(request: LayerRequest): Promise<Manifest> {
    await this.#mustBeClean(request);
    await this.#keepNewest(request.volume);
    return this.#within(manifestTimeoutMs, (signal) =>
      this.#context.content.manifest(layerKey(request), signal),
    );
  }

  /** One copy at a time: the disk is needed for guests as well. */
  verifyLayer(
    request: LayerRequest & { root: string | null },
    signal: AbortSignal,
  ): Promise<CopyCheck> {
    const { work } = this.#agent;
    return this.#verifying.run(async () => {
      signal.throwIfAborted();
      return verifyOwnCopy(this.#agent.worker(request.volume), request, work, signal);
    });
  }

  async readLayer(request: LayerRequest & { offset: number; length: number }): Promise<Buffer> {
    if (request.length > maxReadBytes) {
      throw new HyperscaleError(
        'bad-input',
        `${request.length} bytes are more than one answer holds`,
      );
    }
    await this.#mustBeClean(request);
    return this.#context.content.read(layerKey(request), request.offset, request.length);
  }

  work(): Work[] {
    return this.#agent.work.list();
  }

  attach(volumeId: string): Promise<Endpoint> {
    this.#mustExist(volumeId);
    return this.#within(endpointTimeoutMs, (signal) => this.#agent.attach(volumeId, signal));
  }

  detach(volumeId: string): Promise<void> {
    this.#mustExist(volumeId);
    return this.#within(endpointTimeoutMs, (signal) => this.#agent.detach(volumeId, signal));
  }

  seal(volumeId: string): Promise<void> {
    this.#mustExist(volumeId);
    const worker = this.#agent.worker(volumeId);
    return this.#within(endpointTimeoutMs, (signal) => worker.roll({ reason: 'seal' }, signal));
  }

  async groupSeal(request: Parameters<PeerService['groupSeal']>[0]): Promise<{ kept: boolean }> {
    this.#mustExist(request.volume);
    return this.#groupSeals.step(request);
  }

  extend({ volume, sizeBytes }: { volume: string; sizeBytes: number }): Promise<void> {
    this.#mustExist(volume);
    const worker = this.#agent.worker(volume);
    const wish = { reason: 'extend', sizeBytes } as const;
    return this.#within(endpointTimeoutMs, (signal) => worker.roll(wish, signal));
  }

  async connections({ volume }: { volume: string }): Promise<{ connections: number }> {
    this.#mustExist(volume);
    return { connections: connectionsHere(this.#agent.worker(volume)) };
  }

  resizeConsumers({ volume }: { volume: string }): Promise<Consumer[]> {
    this.#mustExist(volume);
    return this.#agent.consumers.tell(volume);
  }

  /** Whoever gets a layer from here may be opening the next epoch: then it is known here. */
  async #keepNewest(volume: string): Promise<void> {
    await this.#context.store.readVolume(volume);
    await this.#agent.worker(volume).sidecar.keep();
  }

  inspect(request: { volume?: string }): Promise<Inspection> {
    return inspectHere(this.#agent, request.volume);
  }

  measurePool(request: { volumes?: string[] }): Promise<PoolMeasureHere> {
    return measureHere(this.#context, request);
  }

  async quarantine(request: { path: string }): Promise<{ path: string | null }> {
    return { path: await quarantineHere(this.#agent, request.path) };
  }

  revoked(request: { volume: string; session: string }): Promise<void> {
    const worker = this.#agent.worker(request.volume);
    const gone = () => servesNot(worker, request.session);
    return this.#within(endpointTimeoutMs, (signal) => worker.waitUntil(gone, signal));
  }

  makeDevice(request: { volume: string; name?: string }): Promise<Device> {
    this.#mustExist(request.volume);
    const { volume, name } = request;
    return this.#within(endpointTimeoutMs, (signal) =>
      this.#agent.devices.make(volume, name, signal),
    );
  }

  async removeDevice(request: { volume: string; force: boolean }): Promise<void> {
    await this.#agent.devices.remove(request.volume, request.force);
  }

  #within<T>(milliseconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.#context.environment, milliseconds, work);
  }

  #mustExist(volumeId: string): void {
    if (this.#context.store.volume(volumeId) === undefined) {
      throw new HyperscaleError('not-found', `there is no volume ${JSON.stringify(volumeId)}`);
    }
  }

  /** Only a clean copy of a sealed layer, or of a merge's result, is shown to anybody. */
  async #mustBeClean(request: LayerRequest): Promise<void> {
    const { store, self } = this.#context;
    const cached = store.volume(request.volume)?.value;
    if (cached !== undefined && holdsClean(cached, request.layer, self.node)) return;
    const record = await store.readVolume(request.volume);
    if (record !== undefined && holdsClean(record.value, request.layer, self.node)) return;
    throw new HyperscaleError('not-allowed', `${self.node} has no clean copy of ${request.layer}`);
  }
}

function layerKey({ volume, layer, epoch }: LayerRequest): LayerRequest {
  return { volume, layer, epoch };
}

function holdsClean(volume: Volume, layer: string, node: string): boolean {
  const sealed = volume.chain.find((l) => l.id === layer);
  const holder = sealed ?? (volume.merge?.into === layer ? volume.merge : undefined);
  return holder !== undefined && replicaOn(holder, node)?.state === 'clean';
}
