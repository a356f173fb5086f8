import type { Node } from './node.ts';
import type { World } from './world.ts';

type Undo = () => void;

/** Harm that is undone by itself after a while, or all at once. */
export class Harm {
  readonly world: World;
  readonly #undos = new Set<Undo>();

  constructor(world: World) {
    this.world = world;
  }

  /** Everything is as it was. */
  end(): void {
    for (const undo of [...this.#undos]) undo();
  }

  /** Undoes something after a while, at the latest at the end. Returns what undoes it at once. */
  later(milliseconds: number, undo: Undo): Undo {
    const once = () => {
      if (this.#undos.delete(once)) undo();
    };
    this.#undos.add(once);
    this.world.core.scheduler.after(milliseconds, once);
    return once;
  }

  /** Cuts directions of links. */
  cut(lastsMs: number, links: [string, string][]): void {
    const { network, core } = this.world;
    const cut = links.filter(([a, b]) => network.reachable(a, b));
    for (const [from, to] of cut) network.cut(from, to);
    core.trace.note('trouble', `cut ${cut.map((l) => l.join('>')).join(' ')}`);
    this.later(lastsMs, () => {
      for (const [from, to] of cut) network.heal(from, to);
    });
  }

  freezeDaemon(node: Node, lastsMs: number): void {
    node.freezeDaemon();
    this.later(lastsMs, () => node.thawDaemon());
  }

  powerCut(node: Node, lastsMs: number): void {
    this.world.powerCut(node);
    this.later(lastsMs, () => node.boot());
  }

  /** The node hears of changes of the store up to `lagMs` late. */
  lag(node: Node, lagMs: number, lastsMs: number): void {
    node.lagMs = lagMs;
    this.later(lastsMs, () => {
      node.lagMs = 0;
    });
  }
}

/** Both directions of a link. */
export function both(a: string, b: string): [[string, string], [string, string]] {
  return [
    [a, b],
    [b, a],
  ];
}
