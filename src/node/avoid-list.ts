/** Nodes that could not do their part a short while ago, and are not asked again yet. */
export class AvoidList {
  readonly #until = new Map<string, number>();
  readonly #now: () => number;
  readonly #forMs: number;

  constructor(now: () => number, forMs: number) {
    this.#now = now;
    this.#forMs = forMs;
  }

  add(node: string): void {
    this.#until.set(node, this.#now() + this.#forMs);
  }

  current(): Set<string> {
    const now = this.#now();
    for (const [node, until] of this.#until) if (until <= now) this.#until.delete(node);
    return new Set(this.#until.keys());
  }
}
