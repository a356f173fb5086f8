import type { GatewayHandle, HeadFault, HeadHandle, ProxyHandle } from '../engine/engine.ts';
import { Serial } from '../engine/serial.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { assertStep } from '../volume/invariants.ts';
import { layersBelow } from '../volume/lineage.ts';
import { attachmentOn, writerOf } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import { AvoidList } from './avoid-list.ts';
import { completeRoll } from './complete-roll.ts';
import type { Context } from './context.ts';
import { type Duty, mayLive, nextDuty } from './duties.ts';
import { failureLevel } from './failure-level.ts';
import { localView } from './local-view.ts';
import { performDuty } from './perform.ts';
import { settleSession } from './sessions.ts';
import { SidecarKeeper } from './sidecar-keeper.ts';
import { Waiters } from './waiters.ts';
import { type RollWish, WantedRolls } from './wanted-rolls.ts';

/** A head serves this long before a change that is not urgent interrupts it. */
const settleMs = 2_000;
/** A peer that could not prepare a layer is not asked again for this long. */
const avoidMs = 5_000;
/** Nor one that answered an error; then longer and longer. */
const avoidFailingMs = 10_000;
/** A roll that fails so often in a row because of this node's disk is another node's to do. */
const ownDiskFailures = 3;
const firstRetryMs = 100;
const lastRetryMs = 5_000;
/** A head that dies sooner than this counts towards the pause before the next one. */
const shortLifeMs = 10_000;
/** After a few short lives in a row the next head waits, longer each time. */
const freeShortLives = 3;
const longestPauseMs = 10_000;
/** How often the head's node is asked whether it still has the gateway of a proxy here. */
const proxyCheckMs = 5_000;
/** A swap that keeps meeting other writers gives up after this many rounds; the loop goes on. */
const swapRounds = 8;

/**
 * Makes this node do its part for one volume: looks at the record, does the most urgent duty, looks
 * again. One duty at a time; everything that matters survives in the record and in named processes.
 */
export class VolumeWorker {
  readonly id: string;
  readonly context: Context;
  /** Serialises what fences and what starts writers, so that no head starts behind a fence. */
  readonly gate = new Serial();
  /** Keeps the record in this node's pool. */
  readonly sidecar: SidecarKeeper;
  head: HeadHandle | null = null;
  proxy: {
    handle: ProxyHandle;
    headNode: string;
    session: string;
    epoch: number | null;
    /** When the head's node last said that it has the gateway, of the monotonic clock. */
    rightAt: number;
  } | null = null;
  /** The session whose consumers find a socket here, to be served by a proxy sooner or later. */
  listening: string | null = null;
  readonly gateways = new Map<string, GatewayHandle>();
  /** Members that answered an error in the epoch of the head that runs. */
  readonly memberErrors = new Set<string>();
  /** Errors of this node's own disk since a head was started on it. */
  #ownDiskErrors = 0;
  readonly #avoid: AvoidList;
  /** A head is being started; it may serve already. */
  startingHead = false;
  #headSince = 0;
  #shortLives = 0;
  #pausedUntil = 0;
  #running = false;
  #again = false;
  #ended = false;
  #failures = 0;
  readonly #timers = new Set<() => void>();
  #cancelRetry: () => void = () => undefined;
  #cancelProxyCheck: () => void = () => undefined;
  readonly #wanted = new WantedRolls();
  readonly #waiters = new Waiters();
  readonly #headChanged: () => void;

  constructor(context: Context, id: string, headChanged: () => void) {
    this.context = context;
    this.id = id;
    this.sidecar = new SidecarKeeper(context, id);
    this.#headChanged = headChanged;
    this.#avoid = new AvoidList(context.environment.monotonic);
  }

  /** The record as the cache has it; undefined when the volume is gone. */
  get volume(): Volume | undefined {
    return this.context.store.volume(this.id)?.value;
  }

  /** How heads and relays show it. */
  get shownAs(): { readOnly?: true } {
    return this.volume?.view === undefined ? {} : { readOnly: true };
  }

  /** Look again soon; cheap, may be called at any time. */
  kick(): void {
    if (this.#ended) return;
    this.#again = true;
    if (!this.#running) this.#run();
  }

  end(): void {
    this.#ended = true;
    this.#cancelRetry();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }

  /**
   * Applies a transition to the newest record and swaps it in, again when somebody else was faster.
   * A transition that the cached record does not allow is tried with what the store has: others may
   * have changed it a moment ago.
   * @param options.newest it is not enough that the cache has nothing to change: what the store has is
   *   looked at.
   * @throws what the transition throws when it does not fit any more, `conflict` when it never won.
   */
  async change(
    step: (volume: Volume) => Volume,
    options: { leaseGone?: string; newest?: true } = {},
  ): Promise<Volume> {
    const { store, environment } = this.context;
    for (let round = 0; round < swapRounds; round += 1) {
      const cached = round === 0 && options.newest === undefined;
      const previous = cached ? store.volume(this.id) : await store.readVolume(this.id);
      if (previous === undefined) {
        throw new HyperscaleError('not-found', `volume ${this.id} does not exist any more`);
      }
      let next: Volume;
      try {
        next = step(previous.value);
      } catch (error) {
        if (!cached || !store.connected()) throw error;
        const newest = await store.readVolume(this.id).catch(() => undefined);
        if (newest === undefined || newest.revision === previous.revision) throw error;
        continue;
      }
      if (next === previous.value) return next;
      assertStep(previous.value, next);
      const operation = environment.randomId();
      const swapped = await store.swap(previous, { ...next, operation }, options);
      if (swapped !== undefined) return swapped.value;
    }
    throw new HyperscaleError('conflict', `volume ${this.id} is being changed by others`, {
      hint: 'Try again.',
    });
  }

  setHead(head: HeadHandle | null): void {
    this.head = head;
    this.memberErrors.clear();
    if (head !== null) this.#ownDiskErrors = 0;
    this.#headSince = this.context.environment.monotonic();
    head?.onFault((fault) => this.#headFault(head, fault));
    if (head !== null) this.#kickAfter(settleMs + 50);
    this.#headChanged();
    this.#waiters.notify();
  }

  /** Ends the head at once and for good, behind whatever starts or fences one. */
  async killHead(): Promise<void> {
    await this.endHead(0);
  }

  /**
   * Ends the head for good, in good order if it can be done in time; behind the gate, so that nobody
   * opens a session meanwhile.
   * @returns true when every member is known to hold the same.
   */
  endHead(gracefulMs: number): Promise<boolean> {
    return this.gate.run(async () => {
      const { head } = this;
      if (head === null) return false;
      const ask = gracefulMs > 0 && this.memberErrors.size === 0;
      const graceful = ask && (await head.stop(gracefulMs));
      this.setHead(null);
      await head.kill();
      return graceful;
    });
  }

  setProxy(proxy: VolumeWorker['proxy']): void {
    this.proxy = proxy;
    proxy?.handle.onExit(() => {
      if (this.proxy?.handle !== proxy.handle) return;
      this.proxy = null;
      this.kick();
    });
    this.#waiters.notify();
  }

  listensFor(session: string | null): void {
    this.listening = session;
    this.#waiters.notify();
  }

  /** The head's node has this proxy's gateway; it is asked again in the next epoch, or in a while. */
  proxyIsRight(epoch: number): void {
    const { proxy } = this;
    if (proxy === null) return;
    proxy.epoch = epoch;
    proxy.rightAt = this.context.environment.monotonic();
    this.#timers.delete(this.#cancelProxyCheck);
    this.#cancelProxyCheck();
    this.#cancelProxyCheck = this.context.environment.after(proxyCheckMs, () => {
      if (this.proxy !== proxy) return;
      proxy.epoch = null;
      this.kick();
    });
    this.#timers.add(this.#cancelProxyCheck);
  }

  addGateway(gateway: GatewayHandle): void {
    this.gateways.set(gateway.session, gateway);
    gateway.onExit(() => {
      if (this.gateways.get(gateway.session) !== gateway) return;
      this.gateways.delete(gateway.session);
      this.#bringBack(gateway).catch((error: unknown) => {
        const { log } = this.context;
        log.warn({ volume: this.id, error: errorText(error) }, 'a gateway cannot be restarted');
      });
    });
  }

  /** A gateway that died comes back on its port, where the other host's proxy looks for it. */
  async #bringBack({ session, port }: GatewayHandle): Promise<void> {
    // It connects to a head: none may be there while one is exchanged for the next.
    const wanted = () =>
      this.volume !== undefined &&
      writerOf(this.volume) === this.context.self.node &&
      this.volume.attachments.some((attachment) => attachment.session === session);
    await this.waitUntil(() => this.serves(session) || !wanted(), new AbortController().signal);
    await this.gate.run(async () => {
      const state = this.head?.state;
      if (state?.sessions.includes(session) !== true || this.gateways.has(session)) return;
      await settleSession(this, session);
      const { engine } = this.context;
      const options = { port, ...this.shownAs };
      this.addGateway(await engine.startGateway(this.id, session, state.sizeBytes, options));
    });
  }

  /** The head has served long enough for a change that is not urgent. */
  settled(): boolean {
    const age = this.context.environment.monotonic() - this.#headSince;
    return this.head !== null && age >= settleMs;
  }

  /** Nothing here serves that the record, as the cache has it, does not have as the newest. */
  headIsNewest(): boolean {
    if (this.startingHead) return false;
    if (this.head === null) return true;
    const { volume } = this;
    return volume !== undefined && mayLive(volume, this.context.self.node, this.head.state.layer);
  }

  /** Leaves a peer alone for a while after it could not do its part. */
  avoid(node: string): void {
    this.#kickAfter(this.#avoid.add(node, avoidMs) + 50);
  }

  /** Leaves a peer alone whose disk fails: each of its errors stops guests, so longer each time. */
  avoidFailing(node: string): void {
    this.#kickAfter(this.#avoid.addLonger(node, avoidFailingMs) + 50);
  }

  /** This node's disk did not take a layer, or what was written to it. */
  ownDiskFailed(): void {
    this.#ownDiskErrors += 1;
  }

  /** Another node serves the volume now; when it comes back here, the disk is tried again. */
  gaveUp(): void {
    this.#ownDiskErrors = 0;
  }

  avoided(): Set<string> {
    return this.#avoid.current();
  }

  /** Peers whose replica server failed, of those that the head depends on. */
  failed(): Set<string> {
    const failed = new Set(this.memberErrors);
    if (this.#ownDiskErrors >= ownDiskFailures) failed.add(this.context.self.node);
    for (const node of this.dependsOn()) {
      if (this.context.health.failure(node) !== null) failed.add(node);
    }
    return failed;
  }

  /** Nodes whose replica servers the head here writes to or reads from. */
  dependsOn(): Set<string> {
    const state = this.head?.state;
    if (state === undefined) return new Set();
    const sources = state.sealed.map((s) => s.from).filter((n) => n !== null);
    return new Set([...state.peers, ...sources]);
  }

  /** This host has an attachment, or something here still serves or forwards one. */
  isAttached(): boolean {
    const { volume, head, proxy, context } = this;
    if (head !== null || proxy !== null) return true;
    return volume !== undefined && attachmentOn(volume, context.self.node) !== undefined;
  }

  /** True when this host's consumers of the given session are served. */
  serves(session: string): boolean {
    const { head, proxy, volume } = this;
    if (proxy?.session === session) return true;
    if (head === null || volume?.tail.phase !== 'open') return false;
    return volume.tail.layer.id === head.state.layer && head.state.sessions.includes(session);
  }

  /** True when consumers of the given session may connect here: they are served, or wait for it. */
  reachable(session: string): boolean {
    return this.listening === session || this.serves(session);
  }

  /** True when consumers of this host that connect now see this size, or a larger one. */
  shows(sizeBytes: number): boolean {
    const shown = this.head?.state ?? this.proxy?.handle.spec;
    return shown !== undefined && shown.sizeBytes >= sizeBytes;
  }

  /** Resolves when `met` holds after some change here; rejects on abort. */
  waitUntil(met: () => boolean, signal: AbortSignal): Promise<void> {
    return this.#waiters.until(met, signal);
  }

  /** Asks for a new epoch; resolves when it is open. An abort stops the waiting. */
  async roll(wish: RollWish, signal: AbortSignal): Promise<void> {
    const done = this.#wanted.add(wish, signal);
    this.kick();
    await done;
  }

  #run(): void {
    this.#running = true;
    const loop = async () => {
      while (this.#again && !this.#ended) {
        this.#again = false;
        await this.#once();
      }
    };
    loop()
      .catch((error: unknown) => {
        this.context.log.error({ volume: this.id, error: errorText(error) }, 'the worker failed');
      })
      .finally(() => {
        this.#running = false;
        this.#waiters.notify();
        // Kicked between the last look and here.
        if (this.#again && !this.#ended) this.#run();
      });
  }

  async #once(): Promise<void> {
    const { log, store } = this.context;
    // Records that are not believed tell nothing of what should run.
    if (store.quarantine() !== null) return;
    try {
      const duty = await this.#duty();
      if (duty === null) {
        this.#failures = 0;
        return;
      }
      if (duty.kind === 'roll' && duty.reason === 'head-died' && this.#isPaused()) return;
      log.debug({ volume: this.id, duty }, 'duty');
      await performDuty(this, duty);
      this.#failures = 0;
      this.#again = true;
      this.#waiters.notify();
    } catch (error) {
      this.#failures += 1;
      const delay = Math.min(firstRetryMs * 2 ** Math.min(this.#failures - 1, 10), lastRetryMs);
      const level = failureLevel(error, 'conflict');
      log[level](
        { volume: this.id, error: errorText(error), retryMs: delay },
        'duty failed; it is tried again',
      );
      if (level !== 'debug' && this.#failures === 1) {
        const name = this.volume?.name ?? this.id;
        this.context.events.emit('volume.waiting', `Volume ${name}: ${errorText(error)}`, {
          volume: this.id,
        });
      }
      this.#cancelRetry();
      this.#cancelRetry = this.context.environment.after(delay, () => this.kick());
      this.#waiters.notify();
    }
  }

  async #duty(): Promise<Duty | null> {
    const { volume } = this;
    if (volume === undefined) {
      if (this.head !== null) return { kind: 'kill-head', why: 'the volume is gone' };
      if (this.proxy !== null) return { kind: 'stop-proxy' };
      return null;
    }
    const { self } = this.context;
    const below = layersBelow(volume, (id) => this.context.store.volume(id)?.value);
    const duty = nextDuty({
      volume,
      below: below?.map(({ layer }) => layer) ?? null,
      self,
      nodes: this.context.nodes(),
      local: await localView(this, volume),
    });
    if (duty !== null || this.#wanted.none) return duty;
    const { tail } = volume;
    if (tail.phase !== 'open' || tail.layer.writer !== self.node || this.head === null) {
      this.#wanted.refuse(
        new HyperscaleError('not-allowed', `volume ${volume.name} is not open here`),
      );
      return null;
    }
    await this.#wanted.serve(volume, async (wish) => {
      const { group, ...asked } = { group: undefined, ...wish };
      await performDuty(this, { kind: 'roll', ...asked });
      await completeRoll(this, group);
    });
    this.#again = true;
    return null;
  }

  #headFault(head: HeadHandle, fault: HeadFault): void {
    if (this.head !== head) return;
    const { events, log, self } = this.context;
    const name = this.volume?.name ?? this.id;
    if (fault.kind === 'died') {
      log.warn({ volume: this.id, pid: head.state.pid }, 'the head died');
      this.headLivedFor(this.context.environment.monotonic() - this.#headSince);
      events.emit('head.died', `The head of volume ${name} on ${self.node} died.`, {
        volume: this.id,
      });
      this.setHead(null);
    } else {
      const node = fault.node ?? self.node;
      log.warn({ volume: this.id, node, error: fault.error }, 'a member answered an error');
      if (!this.memberErrors.has(node)) {
        events.emit(
          'member.failed',
          `${node} answered an error for volume ${name}: ${fault.error}`,
          {
            volume: this.id,
          },
        );
      }
      this.memberErrors.add(node);
      if (fault.node === null) this.#ownDiskErrors = ownDiskFailures;
      else this.avoidFailing(node);
    }
    this.kick();
  }

  /**
   * Call when a head has died or could not be started. One that dies young again and again must not
   * begin epochs without end.
   */
  headLivedFor(milliseconds: number): void {
    this.#shortLives = milliseconds < shortLifeMs ? this.#shortLives + 1 : 0;
    const beyond = this.#shortLives - freeShortLives;
    if (beyond < 0) return;
    const pause = Math.min(firstRetryMs * 2 ** beyond, longestPauseMs);
    this.#pausedUntil = this.context.environment.monotonic() + pause;
    this.#kickAfter(pause + 1);
  }

  #isPaused(): boolean {
    return this.context.environment.monotonic() < this.#pausedUntil;
  }

  #kickAfter(milliseconds: number): void {
    const cancel = this.context.environment.after(milliseconds, () => {
      this.#timers.delete(cancel);
      this.kick();
    });
    this.#timers.add(cancel);
  }

  /** Call when the record changed, so that those who wait look again. */
  changed(): void {
    this.sidecar.follow();
    this.#waiters.notify();
    this.kick();
  }

  /** The endpoint of this host is gone: nothing serves or forwards, and nothing is open here. */
  detached(): boolean {
    const { volume, context } = this;
    if (this.proxy !== null || this.head !== null) return false;
    if (volume === undefined) return true;
    const mine = attachmentOn(volume, context.self.node);
    return mine === undefined && writerOf(volume) !== context.self.node;
  }
}
