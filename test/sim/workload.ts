import type { Endpoint } from '../../src/api/service.ts';
import type { Service } from '../../src/node/service.ts';
import { isNameless } from '../../src/volume/delete.ts';
import { snapshotsOf } from '../../src/volume/marks.ts';
import { attachmentOn } from '../../src/volume/queries.ts';
import type { Policy, Volume } from '../../src/volume/types.ts';
import { Consumer } from './consumer.ts';
import { blockBytes, blockCount } from './disk.ts';
import type { Node, Outcome } from './node.ts';
import type { Call } from './workload-clone.ts';
import { actOnPoints, revert } from './workload-sharing.ts';
import { actOnTheme } from './workload-themes.ts';
import { simPolicy, type World } from './world.ts';

const callTimeoutMs = 15_000;
const stopTimeoutMs = 10_000;

/** Somebody with one volume, who attaches it here and there, and sometimes deletes it. */
export class User {
  readonly #world: World;
  readonly name: string;
  readonly #pauseMs: number;
  #policy: Policy;
  #id: string | null = null;
  consumer: Consumer | null = null;
  /** Guests that were declared dead, or whose volume was detached under them. */
  readonly #ghosts = new Set<Consumer>();
  #active = true;
  readonly #isClone: boolean;
  /** Where the last guest died with its machine. */
  #deadOn: string | null = null;

  /** @param id of a volume that is there already: a clone */
  constructor(world: World, name: string, id: string | null = null) {
    this.#world = world;
    this.name = name;
    this.#id = id;
    this.#isClone = id !== null;
    this.#policy = simPolicy(world.core);
    this.#pauseMs = world.core.random.pick([300, 1_000, 3_000, 8_000]);
  }

  get id(): string | null {
    return this.#id;
  }

  /** What it is asked for by; somebody may have given it another name. */
  get #called(): string {
    return this.#id ?? this.name;
  }

  /** Acts until `rest`. */
  async live(): Promise<void> {
    const { scheduler, random } = this.#world.core;
    while (this.#active) {
      await this.#act();
      await scheduler.sleep(random.int(10, 2 * this.#pauseMs));
    }
  }

  /** Does nothing new from now on. */
  rest(): void {
    this.#active = false;
  }

  /** The guests on a machine die with it. */
  machineDied(machine: string): void {
    for (const guest of [...this.#ghosts, this.consumer]) {
      if (guest?.machine.name === machine) guest.vanish();
    }
    if (this.consumer?.running !== false) return;
    this.#deadOn = machine;
    this.consumer = null;
  }

  /** Ends guests that no longer have anything. */
  bury(): void {
    for (const ghost of this.#ghosts) ghost.vanish();
    this.#ghosts.clear();
    const { consumer } = this;
    if (consumer === null) return;
    const record = this.record();
    const mine = record && attachmentOn(record, consumer.machine.name);
    if (mine?.session === consumer.session) return;
    consumer.vanish();
    this.consumer = null;
  }

  record(): Volume | undefined {
    return this.#id === null ? undefined : this.#world.volume(this.#id);
  }

  /** Attaches somewhere and starts a guest there. @returns true when it runs. */
  async startGuest(node: Node): Promise<boolean> {
    const host = node.machine.name;
    const outcome = await this.#call('attach', (service, signal) =>
      service.attach(this.#called, host, signal),
    );
    if (!outcome.ok || this.consumer !== null) return false;
    return this.#run(node, outcome.value);
  }

  #run(node: Node, endpoint: Endpoint): boolean {
    const { machine } = node;
    if (!machine.powered || machine.boot !== endpoint.boot || this.#id === null) return false;
    const { core, processes, checker } = this.#world;
    this.consumer = new Consumer(core, processes, checker, machine, this.#id);
    this.consumer.start(endpoint);
    return true;
  }

  async #act(): Promise<void> {
    const { random } = this.#world.core;
    if (this.#id === null) return this.#create();
    const record = this.record();
    if (record === undefined || isNameless(record)) return this.#gone();
    const { consumer } = this;
    if (this.#world.theme !== null && random.chance(0.5)) return this.#actOnTheme(this.#id);
    if (this.#world.shares && random.chance(0.4)) return this.#actOnPoints(this.#id);
    if (consumer === null) {
      if (random.chance(0.05)) return this.#delete();
      if (random.chance(0.1)) return this.#extend();
      const dead = this.#deadOn;
      this.#deadOn = null;
      if (dead !== null && random.chance(0.3)) await this.#detachFrom('detach dead', dead);
      const again = dead !== null && this.#world.theme === 'late news' && random.chance(0.6);
      await this.startGuest(again ? this.#world.node(dead) : this.#somewhere());
      return;
    }
    const dice = random.int(0, 99);
    if (this.#seemsDead(consumer) && dice < 60) return this.#takeOver(consumer);
    if (dice < 25) return this.#migrate(consumer);
    if (dice < 40) return this.#detach(consumer);
    if (dice < 50) {
      await this.#call('seal', (service, signal) => service.seal(this.#called, signal));
    } else if (dice < 53) {
      return this.#forceDetach(consumer);
    } else if (dice < 58) {
      // Prepared for a guest that never comes, or a second path.
      const { name } = this.#somewhere().machine;
      await this.#call('attach more', (s, signal) => s.attach(this.#called, name, signal));
    } else if (dice < 63) {
      const { name } = this.#somewhere().machine;
      if (name === consumer.machine.name) return;
      await this.#detachFrom('detach other', name);
    } else if (dice < 70) {
      return this.#extend();
    } else if (dice < 73) {
      const policy = simPolicy(this.#world.core);
      await this.#call('retype', ({ changes }) => changes.change(this.#called, { policy }));
    } else if (dice < 75) {
      const name = `${this.name}-${random.hex(2)}`;
      await this.#call('rename', ({ changes }) => changes.change(this.#called, { name }));
    }
  }

  #actOnTheme(id: string): Promise<void> {
    return actOnTheme({
      world: this.#world,
      id,
      call: (what, made) => this.#call(what, made),
      free: async () => {
        if (this.consumer !== null) await this.#detach(this.consumer);
      },
      attachMore: async (host) => {
        await this.#call('attach more', (s, signal) => s.attach(id, host, signal));
      },
      revoke: async (host) => {
        const { consumer } = this;
        if (consumer?.machine.name === host) this.#toGhost(consumer);
        await this.#revoke(id, host);
      },
    });
  }

  async #actOnPoints(id: string): Promise<void> {
    const { consumer } = this;
    const call: Call = (what, made) => this.#call(what, made);
    if (!this.#world.core.random.chance(0.15)) return actOnPoints(this.#world, id, call);
    const record = this.record();
    if (record === undefined || snapshotsOf(record).length === 0) return;
    // What is attached and used by nobody is reverted too.
    if (consumer !== null && this.#world.core.random.chance(0.5)) await this.#stop(consumer);
    else if (consumer !== null) await this.#detach(consumer);
    await revert(this.#world, id, call);
  }

  /** To any size, sometimes to two at once: a volume never becomes smaller. */
  async #extend(): Promise<void> {
    const { random } = this.#world.core;
    const sizes = Array.from(
      { length: random.chance(0.3) ? 2 : 1 },
      () => random.int(2, blockCount) * blockBytes,
    );
    await Promise.all(sizes.map((sizeBytes) => this.#extendTo(sizeBytes)));
  }

  async #extendTo(sizeBytes: number): Promise<void> {
    const { id } = this;
    if (id === null) return;
    const before = this.record()?.sizeBytes ?? 0;
    const extended = await this.#call('extend', (service, signal) =>
      service.extendVolume(this.#called, sizeBytes, signal),
    );
    const after = this.#world.volume(id)?.sizeBytes;
    if (!extended.ok || after === undefined || this.#world.reverting.has(id)) return;
    const told = extended.value.volume.sizeBytes;
    if (told === sizeBytes && after >= sizeBytes && sizeBytes >= before) return;
    this.#world.checker.fail(
      `an extend from ${before} to ${sizeBytes} was answered with ${told}, and it has ${after}`,
    );
  }

  async #create(): Promise<void> {
    const { name } = this;
    const sizeBytes = this.#world.core.random.int(2, blockCount - 1) * blockBytes;
    const made = await this.#call('create', (service) =>
      service.createVolume({ name, sizeBytes, policy: this.#policy, limits: {} }),
    );
    if (made.ok) this.#id = made.value.id;
    // An unknown outcome shows in the store.
    else this.#id = this.#world.named(name)?.id ?? null;
  }

  async #delete(): Promise<void> {
    const options = this.#world.shares ? { snapshots: true } : undefined;
    await this.#call('delete', (service) => service.deleteVolume(this.#called, options));
    const record = this.record();
    if (record === undefined || isNameless(record)) this.#gone();
  }

  /** The volume has no name any more; who had a clone is content. */
  #gone(): void {
    this.#id = null;
    this.#policy = simPolicy(this.#world.core);
    if (this.#isClone) this.rest();
  }

  /** The new host gets its endpoint first, then the guest moves, then the old one is detached. */
  async #migrate(consumer: Consumer): Promise<void> {
    const { random, scheduler } = this.#world.core;
    const to = this.#somewhere();
    const from = consumer.machine.name;
    if (to.machine.name === from) return;
    const attached = await this.#call('migrate', (service, signal) =>
      service.attach(this.#called, to.machine.name, signal),
    );
    if (!attached.ok || this.consumer !== consumer) return;
    await this.#stop(consumer);
    if (!this.#run(to, attached.value)) return;
    await scheduler.sleep(random.int(0, 2_000));
    await this.#detachFrom('detach old', from);
  }

  async #detach(consumer: Consumer): Promise<void> {
    await this.#stop(consumer);
    await this.#detachFrom('detach', consumer.machine.name);
  }

  /** Takes the volume away under a running guest, with its host or without asking it. */
  async #forceDetach(consumer: Consumer): Promise<void> {
    const { id } = this;
    const host = consumer.machine.name;
    this.#toGhost(consumer);
    if (id === null || this.#world.core.random.chance(0.5)) {
      return this.#detachFrom('force-detach', host);
    }
    await this.#revoke(id, host);
  }

  async #revoke(id: string, host: string): Promise<void> {
    const record = this.#world.volume(id);
    const revoked = record && attachmentOn(record, host);
    const outcome = await this.#call('revoke', ({ operator }, signal) =>
      operator.forceDetach(id, host, signal),
    );
    if (outcome.ok && revoked !== undefined) this.#isDetached(id, host, revoked.session);
  }

  /** The host of the guest is believed dead: the volume is used elsewhere. */
  async #takeOver(consumer: Consumer): Promise<void> {
    const others = this.#world.nodes.filter((n) => n.machine !== consumer.machine);
    this.#toGhost(consumer);
    this.#world.count('user takes over');
    await this.startGuest(this.#world.core.random.pick(others));
  }

  /** Tells the checker of a detach whose answer means that nothing of the session may land. */
  async #detachFrom(what: string, host: string): Promise<void> {
    const { id } = this;
    const record = this.record();
    const revoked = record && attachmentOn(record, host);
    // Only the host itself, when it served the volume, waits until its requests are over.
    let settles = record?.tail.phase === 'open' && record.tail.layer.writer === host;
    const outcome = await this.#call(what, (service, signal) => {
      const view = service.nodes().find((n) => n.name === host);
      if (service.nodeName !== host && view?.lease == null) settles = false;
      return service.detach(this.#called, host, signal);
    });
    if (!outcome.ok || !settles || revoked === undefined || id === null) return;
    this.#isDetached(id, host, revoked.session);
  }

  /** It was answered that nothing of the session may land any more. */
  #isDetached(id: string, host: string, session: string): void {
    const now = this.#world.volume(id);
    const { checker } = this.#world;
    // A session never comes back.
    if (now !== undefined && attachmentOn(now, host)?.session === session) {
      checker.fail(`a detach from ${host} was answered, and the attachment is there`);
    }
    checker.detached(id, session);
  }

  #toGhost(consumer: Consumer): void {
    const { random } = this.#world.core;
    this.consumer = null;
    if (random.chance(0.5)) consumer.haunt();
    this.#ghosts.add(consumer);
  }

  async #stop(consumer: Consumer): Promise<void> {
    const { scheduler } = this.#world.core;
    await Promise.race([consumer.stop(), scheduler.sleep(stopTimeoutMs)]);
    consumer.vanish();
    if (this.consumer === consumer) this.consumer = null;
  }

  #seemsDead(consumer: Consumer): boolean {
    const view = this.#world.nodeViews().find((n) => n.name === consumer.machine.name);
    return view !== undefined && view.lease === null;
  }

  #somewhere(): Node {
    const { core, late, nodes } = this.#world;
    const ready = nodes.filter((n) => n.service !== null);
    const lateOnes = ready.filter((n) => late.includes(n));
    if (lateOnes.length > 0 && core.random.chance(0.5)) return core.random.pick(lateOnes);
    return core.random.pick(ready.length > 0 ? ready : nodes);
  }

  async #call<T>(
    what: string,
    call: (service: Service, signal: AbortSignal) => Promise<T>,
  ): Promise<Outcome<T>> {
    const { trace, scheduler } = this.#world.core;
    while (this.#world.nodes.every((n) => n.service === null)) await scheduler.sleep(100);
    const node = this.#somewhere();
    trace.note('user', `${this.name}: ${what} by ${node.machine.name}`);
    const outcome = await node.ask(callTimeoutMs, call);
    this.#world.count(`${what}${outcome.ok ? '' : ' failed'}`);
    const text = outcome.ok
      ? 'done'
      : outcome.error instanceof Error
        ? outcome.error.message
        : String(outcome.error);
    trace.note('user', `${this.name}: ${what}: ${text}`);
    return outcome;
  }
}
