import type { Network, Random, Scheduler } from './core.ts';

/** The metadata store's place in the network. */
export const etcdPlace = 'etcd';

const noLink: ReadonlySet<string> = new Set();

/** The links between machines, and between each machine and the store. */
export class SimNetwork implements Network {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #cut = new Map<string, Set<string>>();
  /** Chance of a message to be held up as if it had to be sent again. */
  #lossy = 0;
  /** Everything takes this much longer, at most, milliseconds. */
  #slowMs = 0;

  constructor(random: Random, scheduler: Scheduler) {
    this.#random = random;
    this.#scheduler = scheduler;
  }

  reachable(from: string, to: string): boolean {
    return !(this.#cut.get(from) ?? noLink).has(to);
  }

  send(from: string, to: string, arrive: () => void): void {
    if (!this.reachable(from, to)) return;
    this.#scheduler.after(this.delay(from, to), () => {
      if (this.reachable(from, to)) arrive();
    });
  }

  /** How long a message that is sent now is under way. */
  delay(from: string, to: string): number {
    if (from === to) return 0.1;
    const usual = this.#random.int(100, 1_500) / 1_000;
    if (this.#slowMs === 0 && this.#lossy === 0) return usual;
    const again = this.#random.chance(this.#lossy) ? this.#random.int(200, 1_500) : 0;
    return usual + again + (this.#slowMs > 0 ? this.#random.int(0, this.#slowMs) : 0);
  }

  /** Cuts one direction. */
  cut(from: string, to: string): void {
    const cut = this.#cut.get(from) ?? new Set();
    cut.add(to);
    this.#cut.set(from, cut);
  }

  heal(from: string, to: string): void {
    this.#cut.get(from)?.delete(to);
  }

  healAll(): void {
    this.#cut.clear();
    this.#lossy = 0;
    this.#slowMs = 0;
  }

  setLossy(chance: number): void {
    this.#lossy = chance;
  }

  setSlow(milliseconds: number): void {
    this.#slowMs = milliseconds;
  }
}
