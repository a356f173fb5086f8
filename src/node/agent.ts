import type { Endpoint } from '../api/service.ts';
import { repairRests } from '../cluster/repair-policy.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { StoreChange } from '../store/store.ts';
import { attach } from '../volume/attach.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeView, Volume } from '../volume/types.ts';
import { Background, type BackgroundOptions } from './background.ts';
import { ConsumerSizes } from './consumer-sizes.ts';
import type { Context } from './context.ts';
import { Devices } from './devices.ts';
import { mayBeAttachedTo } from './drain-node.ts';
import { revokeAttachment, untilForwardedSettled } from './force-detach.ts';
import { Kin } from './kin.ts';
import { Leisure } from './leisure.ts';
import { mayBeServed } from './let-other-open.ts';
import { reportUnknownFiles } from './unknown-files.ts';
import { VolumeWorker } from './volume-worker.ts';
import { WorkList } from './work-list.ts';

/** Spare containers are kept for at most this many different sizes of volumes. */
const spareSizes = 16;
/** Changes of many volumes at once refill spares once. */
const sparesDelayMs = 200;

type Entry = { worker: VolumeWorker; background: Background };

/**
 * Makes this node match the records: one worker a volume, woken by what changes, never by a clock
 * alone. It can be killed at any moment; the next one adopts what runs.
 */
export class Agent {
  readonly context: Context;
  readonly work = new WorkList();
  /** Sizes as the consumers on this node know them. */
  readonly consumers: ConsumerSizes;
  /** Block devices of this node's attachments. */
  readonly devices: Devices;
  readonly #limit: BackgroundOptions['limit'];
  readonly #entries = new Map<string, Entry>();
  readonly #down = new Map<string, number>();
  readonly #seenUp = new Set<string>();
  readonly #unsubscribe: (() => void)[] = [];
  readonly #told = new Map<string, { name: string; text: string }>();
  readonly #leisure = new Leisure(() => this.#kickAll());
  readonly #kin: Kin;
  #sparesPlanned = false;
  #started = false;

  constructor(context: Context, limit: BackgroundOptions['limit']) {
    this.context = context;
    this.#limit = limit;
    this.devices = new Devices(this);
    this.consumers = new ConsumerSizes(context, (id) => this.worker(id));
    this.#kin = new Kin((id) => context.store.volume(id)?.value);
  }

  /** Adopts what runs on this node and begins to follow the records. */
  async start(): Promise<void> {
    const { engine, store, health } = this.context;
    await engine.replicas.start();
    const { heads, proxies, gateways } = await engine.adopt();
    for (const head of heads) this.worker(head.state.volume).setHead(head);
    for (const handle of proxies) {
      const { volume, session, headNode } = handle.spec;
      const rightAt = this.context.environment.monotonic();
      this.worker(volume).setProxy({ handle, session, headNode, epoch: null, rightAt });
    }
    for (const gateway of gateways) this.worker(gateway.volume).addGateway(gateway);
    for (const node of store.nodes()) this.#sawNode(node.name, node);
    for (const volume of engine.attachSockets()) {
      const worker = this.worker(volume);
      if (!worker.isAttached()) await engine.removeAttachSocket(volume);
    }
    await this.devices.adopt();
    this.#unsubscribe.push(
      store.onChange((change) => this.#changed(change)),
      store.onConnection((connected) => {
        const { events } = this.context;
        events.emit(
          connected ? 'store.connected' : 'store.lost',
          connected
            ? 'The metadata store answers again.'
            : 'The metadata store does not answer; guests go on, changes wait.',
        );
        if (connected) this.#kickAll();
      }),
      health.onChange((node) => this.#healthChanged(node)),
    );
    this.devices.settleAll();
    this.#kin.begin(store.volumes().map(({ value }) => value));
    for (const { value } of store.volumes()) this.worker(value.id).sidecar.follow();
    for (const { volume } of await engine.layers.records()) {
      if (store.volume(volume) === undefined) this.worker(volume).sidecar.follow();
    }
    this.#kickAll();
    this.#refillSpares();
    this.consumers.begin(store.volumes().map(({ value }) => value));
    this.#started = true;
    await reportUnknownFiles(this.context);
  }

  /** What ran on this node before has been adopted. */
  get started(): boolean {
    return this.#started;
  }

  stop(): void {
    for (const off of this.#unsubscribe) off();
    this.consumers.end();
    for (const { worker, background } of this.#entries.values()) {
      worker.end();
      background.end();
    }
  }

  /**
   * True when everything that serves here was found to be the newest by the records. Before the
   * start it is not known what runs.
   */
  headsAreNewest(): boolean {
    return this.#started && [...this.#entries.values()].every((e) => e.worker.headIsNewest());
  }

  /** The worker of a volume, made when there was none. */
  worker(id: string): VolumeWorker {
    return this.#entry(id).worker;
  }

  /** The workers that there are. */
  workers(): VolumeWorker[] {
    return [...this.#entries.values()].map((entry) => entry.worker);
  }

  /** Looks at every volume again, e.g. when a grace period is over. */
  kickAll(): void {
    this.#kickAll();
  }

  /**
   * Records an attachment of this host and resolves when its endpoint serves.
   * @param recorded called as soon as the record has the attachment.
   */
  async attach(id: string, signal: AbortSignal, recorded?: () => void): Promise<Endpoint> {
    const { self, environment, engine } = this.context;
    const worker = this.worker(id);
    const session = environment.randomId();
    const since = environment.now();
    // What another node has just made may not be known here yet.
    if (worker.volume === undefined) await this.context.store.readVolume(id);
    mayBeAttachedTo(this.context.nodes(), self.node, worker.volume);
    if (worker.volume?.tail.phase === 'idle') mayBeServed(this.context, worker.volume);
    const changed = await worker.change((v) =>
      attach(v, { host: self.node, session, boot: self.boot, since }),
    );
    const mine = attachmentOn(changed, self.node);
    if (mine === undefined) throw new HyperscaleError('internal', 'the attachment is not there');
    worker.kick();
    recorded?.();
    await worker.waitUntil(() => {
      const { volume } = worker;
      const now = volume && attachmentOn(volume, self.node);
      if (now?.session !== mine.session) {
        throw new HyperscaleError('conflict', `volume ${changed.name} was detached meanwhile`);
      }
      return worker.serves(mine.session);
    }, signal);
    const socket = engine.attachSocket(id);
    return { ...mine, socket, uri: `nbd+unix:///${mine.session}?socket=${socket}` };
  }

  /**
   * Revokes this host's attachment and resolves when nothing is served here any more.
   * @throws `in-use` when its block device is; then nothing was done.
   */
  async detach(id: string, signal: AbortSignal): Promise<void> {
    const { self } = this.context;
    const worker = this.worker(id);
    const { revoked, session } = await this.devices.ending(id, false, () =>
      revokeAttachment(worker, self.node),
    );
    worker.kick();
    await worker.waitUntil(() => worker.detached(), signal);
    if (session !== undefined) await untilForwardedSettled(this, revoked, session, signal);
  }

  #entry(id: string): Entry {
    const known = this.#entries.get(id);
    if (known !== undefined) return known;
    const worker = new VolumeWorker(this.context, id, () => this.#watchPeers());
    const background = new Background(worker, {
      work: this.work,
      limit: this.#limit,
      givenUp: () => this.#givenUp(),
      leisure: this.#leisure,
      workerOf: (volume) => this.worker(volume),
    });
    const entry = { worker, background };
    this.#entries.set(id, entry);
    return entry;
  }

  #changed(change: StoreChange): void {
    if (change.kind === 'node') {
      this.#sawNode(change.name, change.node);
      this.#kickAll();
      return;
    }
    const { worker, background } = this.#entry(change.id);
    worker.changed();
    background.kick();
    for (const kin of this.#kin.of(change.id, change.volume?.value ?? null)) {
      this.#entry(kin).worker.kick();
      this.#entry(kin).background.kick();
    }
    this.#refillSpares();
    this.devices.settle(change.id);
    this.consumers.changed(change.id, change.volume?.value ?? null);
    this.#tell(change.id, change.volume?.value ?? null);
    if (change.volume !== null) return;
    this.#forget(change.id).catch((error: unknown) => {
      this.context.log.warn({ volume: change.id, error: errorText(error) }, 'clean-up failed');
    });
  }

  /** One event for each phase and epoch of a volume, not for every small change of its record. */
  #tell(id: string, volume: Volume | null): void {
    const { events } = this.context;
    const told = this.#told.get(id);
    if (volume === null) {
      this.#told.delete(id);
      events.emit('volume.removed', `Volume ${told?.name ?? id} is gone.`, { volume: id });
      return;
    }
    const { name, tail, epoch } = volume;
    const text = `Volume ${name} is ${tail.phase} at epoch ${epoch}.`;
    if (told?.text === text) {
      events.emit('volume.record', `The record of volume ${name} changed.`, { volume: id });
      return;
    }
    this.#told.set(id, { name, text });
    events.emit('volume.changed', text, { volume: id });
  }

  /** The next layer's container is made before it is needed, for any volume of the same size. */
  #refillSpares(): void {
    if (this.#sparesPlanned || this.context.withoutPool === true) return;
    this.#sparesPlanned = true;
    const { environment, engine, store, log } = this.context;
    environment.after(sparesDelayMs, () => {
      this.#sparesPlanned = false;
      const live = store.volumes().filter(({ value }) => value.tail.phase !== 'deleting');
      const sizes = [...new Set(live.map(({ value }) => value.sizeBytes))].slice(0, spareSizes);
      engine.layers.keepSpares(sizes).catch((error: unknown) => {
        log.warn({ error: errorText(error) }, 'spare layers cannot be made');
      });
    });
  }

  async #forget(id: string): Promise<void> {
    const { layers } = this.context.engine;
    // Of a volume whose files are here the record may come back: its fence is still a promise.
    if ((await layers.list(id)).length === 0) await layers.removeFence(id);
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.worker.head !== null || entry.worker.proxy !== null) return;
    entry.worker.end();
    entry.background.end();
    this.#entries.delete(id);
  }

  #sawNode(name: string, node: NodeView | null): void {
    const { environment, events, repairDelayMs } = this.context;
    const isDown = node === null || node.lease === null;
    const wasDown = this.#down.has(name);
    if (isDown && !wasDown) {
      this.#down.set(name, environment.monotonic());
      environment.after(repairDelayMs + 100, () => this.#kickAll());
      // A node that registers for the first time has no lease yet: that is no news.
      if (!this.#seenUp.has(name)) return;
      events.emit('node.down', `Node ${name} is down.`, { values: { node: name } });
    } else if (!isDown && (wasDown || !this.#seenUp.has(name))) {
      this.#down.delete(name);
      this.#seenUp.add(name);
      events.emit('node.up', `Node ${name} is up.`, { values: { node: name } });
    }
  }

  /** Nodes that have been down for longer than the repair delay, unless too many are. */
  #givenUp(): Set<string> {
    const { environment, repairDelayMs } = this.context;
    const now = environment.monotonic();
    if (repairRests(this.context.nodes())) return new Set();
    return new Set(
      [...this.#down].filter(([, since]) => now - since >= repairDelayMs).map(([name]) => name),
    );
  }

  #healthChanged(node: string): void {
    const { health, events } = this.context;
    const failure = health.failure(node);
    events.emit(
      failure === null ? 'peer.recovered' : 'peer.failed',
      failure === null
        ? `The replica server of ${node} answers again.`
        : `The replica server of ${node} does not answer: ${failure}.`,
      { values: { node } },
    );
    for (const { worker } of this.#entries.values()) {
      if (worker.dependsOn().has(node)) worker.kick();
    }
  }

  #watchPeers(): void {
    const needed = new Set<string>();
    for (const { worker } of this.#entries.values()) {
      for (const node of worker.dependsOn()) needed.add(node);
    }
    this.context.health.watch(needed);
  }

  #kickAll(): void {
    for (const { worker, background } of this.#entries.values()) {
      worker.kick();
      background.kick();
    }
  }
}
