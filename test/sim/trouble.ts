import { unsealedLayer } from '../../src/volume/queries.ts';
import type { Volume } from '../../src/volume/types.ts';
import { guestName } from './consumer.ts';
import { Violation } from './core.ts';
import { etcdPlace } from './network.ts';
import type { Node } from './node.ts';
import { both, Harm } from './trouble-harm.ts';
import { Siege, writerNode } from './trouble-siege.ts';
import type { World } from './world.ts';

const failsMs = 10_000;
const lookEveryMs = 250;
/** A member that fails is out of the write set within this time when nothing else is wrong. */
const evictWithinMs = 4_000;

/**
 * Trouble where it hurts most, which faults at random moments seldom meet: strikes in the middle of
 * a change of epoch, and sieges, in which a writer is superseded while its head lives on.
 */
export class Trouble {
  readonly #world: World;
  readonly #harm: Harm;
  readonly #siege: Siege;
  /** No other faults happen in this history: they would hide what a siege shows. */
  readonly alone: boolean;
  /** Only the disk of a member fails in this history, so that a bound can be held against. */
  readonly #calm: boolean;
  readonly #strikeChance: number;
  readonly #everyMs: number;
  /** What is being imported, and where. */
  readonly #importing = new Map<string, string>();
  #active = true;

  constructor(world: World) {
    const { random } = world.core;
    this.#world = world;
    this.#harm = new Harm(world);
    this.#siege = new Siege(this.#harm);
    this.alone = random.chance(0.5);
    this.#calm = this.alone && random.chance(0.2);
    this.#strikeChance = this.#calm ? 0 : random.pick([0, 0.05, 0.3]);
    this.#everyMs = this.alone ? 1_000 : random.pick([3_000, 100_000]);
    world.checker.onStep = (volume) => this.#stepped(volume);
  }

  async live(): Promise<void> {
    const { scheduler, random } = this.#world.core;
    while (this.#active) {
      await scheduler.sleep(random.int(500, 2 * this.#everyMs));
      const open = this.#world.volumes().filter((v) => v.tail.phase === 'open');
      if (!this.#active || open.length === 0) continue;
      const used = open.filter((v) => this.#isUsed(v));
      const volume = random.pick(used.length > 0 ? used : open);
      const writer = writerNode(this.#harm, volume);
      if (this.#calm || random.chance(0.05)) await this.#failingMember(volume);
      else if (writer !== undefined) await this.#siege.lay(volume, writer);
    }
  }

  /** Nothing new from now on; what lasts is undone. */
  stop(): void {
    this.#active = false;
    this.#siege.stop();
    this.#harm.end();
  }

  /** Right after a step of a record something happens to those who have to do the next one. */
  #stepped(volume: Volume): void {
    const { random } = this.#world.core;
    this.#siege.changed(volume);
    if (!this.#active || this.#calm) return;
    this.#loseAnswer(volume);
    const { tail, attachments, id } = volume;
    const writer = writerNode(this.#harm, volume);
    const begins =
      tail.phase === 'open' &&
      attachments.length > 1 &&
      this.#world.processes.heads().every((h) => h.spec.volume !== id);
    if (this.alone && begins && writer !== undefined && random.chance(0.3)) {
      this.#siege.interrupt(volume, writer);
      return;
    }
    if (!random.chance(this.#strikeChance)) return;
    const members = unsealedLayer(volume)?.members.map((m) => m.node) ?? [];
    const struck =
      random.chance(0.7) || members.length === 0 ? writer : this.#world.node(random.pick(members));
    if (struck !== undefined) this.#strike(struck);
  }

  /** Who has completed an import just now does not hear that. */
  #loseAnswer({ id, importing }: Volume): void {
    const { core, theme } = this.#world;
    if (importing !== undefined) {
      this.#importing.set(id, importing.node);
      return;
    }
    const node = this.#importing.get(id);
    this.#importing.delete(id);
    if (node === undefined || theme !== 'images' || !core.random.chance(0.2)) return;
    this.#world.count('lost answer');
    this.#harm.cut(core.random.int(11_000, 18_000), both(node, etcdPlace));
  }

  #strike(node: Node): void {
    const { random, scheduler } = this.#world.core;
    scheduler.after(random.int(0, random.pick([3, 40, 300])), () => {
      if (!this.#active || !node.machine.powered) return;
      const lastsMs = random.int(100, 8_000);
      const heads = this.#world.processes.heads().filter((h) => h.machine === node.machine);
      this.#world.count('strike');
      switch (random.int(0, 5)) {
        case 0:
          node.killDaemon();
          break;
        case 1:
          for (const head of heads) head.kill();
          break;
        case 2:
          this.#harm.freezeDaemon(node, lastsMs);
          break;
        case 3:
          this.#harm.powerCut(node, lastsMs);
          break;
        case 4:
          this.#harm.cut(lastsMs, both(node.machine.name, etcdPlace));
          break;
        default:
          for (const head of heads) {
            head.freeze();
            this.#harm.later(lastsMs, () => head.thaw());
          }
      }
    });
  }

  /** The disk under a member other than the writer fails every write. */
  async #failingMember(volume: Volume): Promise<void> {
    const { core, checker, processes } = this.#world;
    const { scheduler, random, trace } = core;
    const [, ...peers] = unsealedLayer(volume)?.members ?? [];
    if (peers.length === 0) return;
    const { machine } = this.#world.node(random.pick(peers).node);
    trace.note('trouble', `the disk of ${machine.name} fails all writes`);
    this.#world.count('failing member');
    const disk = processes.disk(machine);
    disk.failWrites(1);
    const end = this.#harm.later(failsMs, () => disk.failWrites(0));
    for (let waited = 0; waited < failsMs && this.#active; waited += lookEveryMs) {
      await scheduler.sleep(lookEveryMs);
      const tail = this.#world.volume(volume.id)?.tail;
      if (tail?.phase !== 'open' || tail.layer.writer === machine.name) continue;
      const kept = scheduler.now() - checker.memberFailedAt(tail.layer.id) > evictWithinMs;
      if (this.#calm && kept) {
        throw new Violation(`a member fails every write and is kept in epoch ${tail.layer.epoch}`);
      }
    }
    end();
  }

  /** A guest runs where it is written. */
  #isUsed(volume: Volume): boolean {
    const writer = writerNode(this.#harm, volume);
    if (writer === undefined) return false;
    const { consumers } = this.#world.processes.host(writer.machine);
    return [...consumers].some((guest) => guest.name === guestName(volume.id));
  }
}
