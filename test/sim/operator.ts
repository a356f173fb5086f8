import type { DrainReport } from '../../src/cluster/drain.ts';
import type { Labels } from '../../src/volume/types.ts';
import type { Random } from './core.ts';
import type { Node } from './node.ts';
import type { World } from './world.ts';

const callTimeoutMs = 15_000;
/** In so many histories an operator is at work. */
const share = 0.3;

/** Where each machine stands, in histories in which that is said at all: two or three racks. */
export function simLabels(random: Random, names: readonly string[]): Map<string, Labels> {
  if (!random.chance(share)) return new Map();
  const racks = random.int(2, 3);
  return new Map(names.map((name) => [name, { rack: `r${random.int(1, racks)}` }]));
}

/** Somebody who drains nodes and ends that, whatever else goes on. */
export class Operator {
  readonly #world: World;
  readonly #random: Random;
  readonly #pauseMs: number;
  #active: boolean;

  /** @param random of its own, so that histories without it stay what they were. */
  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#active = random.chance(share);
    this.#pauseMs = random.pick([1_000, 4_000, 10_000]);
  }

  /** Acts until `rest`. */
  async live(): Promise<void> {
    const { scheduler } = this.#world.core;
    while (this.#active) {
      await scheduler.sleep(this.#random.int(10, 2 * this.#pauseMs));
      const node = this.#random.pick(this.#world.nodes).machine.name;
      if (this.#random.chance(0.4)) await this.#undrain(node);
      else await this.#drain(node);
    }
  }

  /** Does nothing new from now on. */
  rest(): void {
    this.#active = false;
  }

  /** Ends every drain: nothing else is between the cluster and its rest. */
  async tidy(): Promise<void> {
    const { scheduler } = this.#world.core;
    for (const { machine } of this.#world.nodes) {
      while (!(await this.#undrain(machine.name))) await scheduler.sleep(500);
    }
  }

  async #drain(name: string): Promise<void> {
    const partial = this.#random.chance(0.3);
    const node = this.#somebody();
    if (node === undefined) return;
    const outcome = await node.ask<DrainReport>(callTimeoutMs, (service) =>
      service.operator.drain(name, { partial, by: 'sim' }),
    );
    this.#world.count(`drain${outcome.ok ? '' : ' failed'}`);
  }

  async #undrain(name: string): Promise<boolean> {
    const node = this.#somebody();
    if (node === undefined) return false;
    const outcome = await node.ask<DrainReport>(callTimeoutMs, (service) =>
      service.operator.undrain(name),
    );
    return outcome.ok;
  }

  #somebody(): Node | undefined {
    const ready = this.#world.nodes.filter((n) => n.service !== null);
    return ready.length === 0 ? undefined : this.#random.pick(ready);
  }
}
