import type { World } from './world.ts';

const lookEveryMs = 500;

/**
 * One or two nodes hear of changes late for as long as it lasts, in histories that are about that.
 */
export class LateNews {
  readonly #world: World;
  #active = true;

  constructor(world: World) {
    this.#world = world;
  }

  async live(): Promise<void> {
    const { core, nodes, theme } = this.#world;
    if (theme !== 'late news') return;
    const { random, scheduler } = core;
    const first = random.pick(nodes);
    const late = nodes.filter((n) => n === first || (nodes.length > 3 && random.chance(0.3)));
    const lagMs = random.pick([1_000, 3_000, 8_000]);
    this.#world.late = late;
    while (this.#active) {
      for (const node of late) node.lagMs = lagMs;
      await scheduler.sleep(lookEveryMs);
    }
    this.#world.late = [];
  }

  /** News come at once from now on. */
  stop(): void {
    this.#active = false;
  }
}
