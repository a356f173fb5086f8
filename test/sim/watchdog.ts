import { judge } from '../../src/watchdog/freshness.ts';
import type { Machine } from './core.ts';
import type { NodeWorld } from './node-world.ts';

const lookEveryMs = 200;

/** As the watchdog process keeps it. */
type Seen = { at: number; asking: boolean; known: boolean };

/** The watchdogs of all machines: they end heads that may have been superseded. */
export class Watchdogs {
  readonly #world: NodeWorld;
  readonly #machines: readonly Machine[];
  /** By head; an entry is new with every head. */
  readonly #seen = new WeakMap<object, Seen>();

  constructor(world: NodeWorld, machines: readonly Machine[]) {
    this.#world = world;
    this.#machines = machines;
  }

  start(): void {
    this.#world.core.scheduler.after(lookEveryMs, () => {
      this.look();
      this.start();
    });
  }

  /** Looks at every head; a machine that stands still has no watchdog either. */
  look(): void {
    const { core, processes } = this.#world;
    const now = core.scheduler.now();
    for (const head of this.#machines.flatMap((m) => [...processes.host(m).heads])) {
      const { machine, spec } = head;
      if (machine.frozen || !machine.powered) continue;
      const seen = this.#seen.get(head) ?? { at: 0, asking: false, known: false };
      this.#seen.set(head, seen);
      const { peers, layer } = spec.open;
      const leaseConfirmed = this.#world.node(machine.name).leaseConfirmed();
      const { at: membersSeen, known } = seen;
      const verdict = judge({ now, leaseConfirmed, membersSeen, peers: peers.length, known });
      if (verdict === 'fine') {
        seen.known = true;
      } else if (verdict === 'kill') {
        core.trace.note(machine.name, `the watchdog kills the head of epoch ${layer.epoch}`);
        head.kill();
      } else {
        this.#ask(
          machine,
          layer.layer,
          peers.map((p) => p.node),
          seen,
        );
      }
    }
  }

  /** Good only when every member still exports the layer. */
  #ask(machine: Machine, layer: string, members: string[], seen: Seen): void {
    if (seen.asking) return;
    const { core, network, processes } = this.#world;
    seen.asking = true;
    const begun = core.scheduler.now();
    const answers = members.map((name) => {
      const to = this.#world.node(name).machine;
      return network.delay(machine.name, name) + network.delay(name, machine.name) < 800
        ? () => processes.exportsSeen(machine, to, layer)
        : () => false;
    });
    core.scheduler.after(core.random.int(1, 10), () => {
      const all = answers.every((answer) => answer());
      const end = () => {
        if (all) seen.at = Math.max(seen.at, begun);
        seen.asking = false;
        seen.known = true;
      };
      if (all) end();
      else core.scheduler.after(800, end);
    });
  }
}
