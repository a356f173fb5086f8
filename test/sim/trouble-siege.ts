import { unsealedLayer, writerOf } from '../../src/volume/queries.ts';
import type { Volume } from '../../src/volume/types.ts';
import { Consumer } from './consumer.ts';
import { etcdPlace } from './network.ts';
import type { Node } from './node.ts';
import { both, type Harm } from './trouble-harm.ts';

const callTimeoutMs = 18_000;
const interruptedMs = 15_000;

/** Makes another node take a volume over while the head of its writer lives on. */
export class Siege {
  readonly #harm: Harm;
  readonly #guests = new Set<Consumer>();
  /** The volume, and whether the harm ends as soon as the take-over begins. */
  #target = { volume: '', relieved: false };
  #active = true;

  constructor(harm: Harm) {
    this.#harm = harm;
  }

  stop(): void {
    this.#active = false;
    for (const guest of this.#guests) guest.vanish();
    this.#guests.clear();
  }

  /**
   * The writer's daemon falls silent, some links fail, some nodes hear of changes late, a member may
   * lose power, and another host attaches the volume and uses it.
   */
  async lay(volume: Volume, writer: Node): Promise<void> {
    const { core, nodes } = this.#harm.world;
    const { random, trace } = core;
    const others = nodes.filter((n) => n !== writer && n.service !== null);
    if (others.length === 0) return;
    const members = unsealedLayer(volume)?.members.map((m) => m.node) ?? [];
    const strangers = others.filter((n) => !members.includes(n.machine.name));
    const taker = random.pick(strangers.length > 0 && random.chance(0.7) ? strangers : others);
    const { name } = writer.machine;
    const lastsMs = random.int(8_000, 18_000);
    trace.note('trouble', `siege of ${name}; ${taker.machine.name} takes over`);
    this.#harm.world.count('siege');
    this.#target = { volume: volume.id, relieved: random.chance(0.4) };
    const used = this.#useElsewhere(volume, taker);
    this.#silence(writer, taker, strangers.includes(taker), lastsMs);
    for (const node of nodes) {
      const late = node !== writer && node !== taker && random.chance(0.7);
      if (late) this.#harm.lag(node, random.int(2_000, 8_000), lastsMs);
    }
    const peers = nodes.filter((n) => n !== writer && members.includes(n.machine.name));
    if (random.chance(0.2) && peers.length > 0) await this.#cutPower(random.pick(peers));
    await used;
  }

  /** A record has changed: a take-over may have begun. */
  changed({ id, tail }: Volume): void {
    if (tail.phase !== 'fencing' || this.#target.volume !== id) return;
    const { relieved } = this.#target;
    this.#target = { volume: '', relieved: false };
    const { random, scheduler } = this.#harm.world.core;
    if (relieved) scheduler.after(random.int(0, 2_500), () => this.#harm.end());
  }

  /**
   * A writer with another host behind it stops between its confirm and the start of its head, goes
   * on when the take-over has begun, and hears of that late.
   */
  interrupt(volume: Volume, writer: Node): void {
    const { random, scheduler } = this.#harm.world.core;
    this.#harm.world.count('interruption');
    this.#target = { volume: volume.id, relieved: true };
    writer.lagMs = interruptedMs / 3;
    scheduler.after(random.int(0, 20) / 10, () => this.#freezeDaemon(writer, interruptedMs));
    scheduler.after(interruptedMs, () => {
      writer.lagMs = 0;
    });
  }

  #silence(writer: Node, taker: Node, stranger: boolean, lastsMs: number): void {
    const { random } = this.#harm.world.core;
    const { name } = writer.machine;
    const how = random.int(0, 9);
    if (how < 5) {
      this.#freezeDaemon(writer, lastsMs);
      if (random.chance(0.3)) this.#cutSome(writer, taker, lastsMs);
    } else if (how < 8) {
      this.#harm.cut(lastsMs, both(name, etcdPlace));
      // A head that does not reach its members is ended by its watchdog before anything happens.
      if (stranger) this.#harm.cut(lastsMs, both(name, taker.machine.name));
      else this.#cutSome(writer, taker, lastsMs);
    } else {
      this.#falseAlarm(writer, taker, lastsMs);
    }
  }

  /**
   * The writer's lease goes for a moment, and the taker hears only of that. The writer has taken
   * another one when its daemon stops: a store drops no lease early, so none is gone for good then.
   */
  #falseAlarm(writer: Node, taker: Node, lastsMs: number): void {
    const { core, etcd } = this.#harm.world;
    const { random, scheduler } = core;
    this.#harm.lag(taker, random.int(300, 1_500), lastsMs);
    scheduler.after(random.int(100, 1_000), () => {
      if (!this.#active) return;
      const lease = etcd.leaseOf(`/${writer.machine.name}`);
      if (lease !== undefined) etcd.revoke(lease);
      scheduler.after(random.int(1_000, 2_000), () => this.#freezeDaemon(writer, lastsMs));
    });
  }

  /** No links, those to the taker, or any of the writer's. */
  #cutSome(writer: Node, taker: Node, lastsMs: number): void {
    const { core, nodes } = this.#harm.world;
    const which = core.random.int(0, 2);
    for (const node of nodes) {
      if (node === writer || which === 0 || (which === 1 && node !== taker)) continue;
      if (which === 2 && core.random.chance(0.6)) continue;
      const [there, back] = both(writer.machine.name, node.machine.name);
      const links = core.random.pick([[there, back], [there, back], [there], [back]]);
      this.#harm.cut(lastsMs, links);
    }
  }

  async #cutPower(node: Node): Promise<void> {
    const { random, scheduler } = this.#harm.world.core;
    await scheduler.sleep(random.int(0, 3_000));
    if (this.#active) this.#harm.powerCut(node, random.int(100, 1_500));
  }

  #freezeDaemon(node: Node, lastsMs: number): void {
    if (this.#active) this.#harm.freezeDaemon(node, lastsMs);
  }

  async #useElsewhere({ id }: Volume, node: Node): Promise<void> {
    const { core, processes, checker } = this.#harm.world;
    const { machine } = node;
    const outcome = await node.ask(callTimeoutMs, (service, signal) =>
      service.attach(id, machine.name, signal),
    );
    if (!outcome.ok || !this.#active || machine.boot !== outcome.value.boot) return;
    const guest = new Consumer(core, processes, checker, machine, id);
    this.#guests.add(guest);
    guest.start(outcome.value);
    await core.scheduler.sleep(core.random.int(1_000, 6_000));
    guest.vanish();
    this.#guests.delete(guest);
    await node.ask(callTimeoutMs, (service, signal) => service.detach(id, machine.name, signal));
  }
}

/** The node that writes a volume now or is about to. */
export function writerNode({ world }: Harm, volume: Volume): Node | undefined {
  return world.nodes.find((n) => n.machine.name === writerOf(volume) && n.machine.powered);
}
