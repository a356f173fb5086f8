/** A node that failed again is avoided twice as long, up to this. */
const longestMs = 40_000;
/** Once it was not avoided for so long, it begins anew. */
const forgottenMs = 60_000;

/** Nodes that could not do their part a short while ago, and are not asked again yet. */
export class AvoidList {
  readonly #avoided = new Map<string, { until: number; forMs: number }>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns for how long, in milliseconds. */
  add(node: string, forMs: number): number {
    this.#avoided.set(node, { until: this.#now() + forMs, forMs });
    return forMs;
  }

  /** Of a node whose fault hurts: longer each time. @returns for how long, in milliseconds. */
  addLonger(node: string, firstMs: number): number {
    const before = this.#avoided.get(node);
    const again = before !== undefined && this.#now() < before.until + forgottenMs;
    return this.add(node, again ? Math.min(before.forMs * 2, longestMs) : firstMs);
  }

  current(): Set<string> {
    const now = this.#now();
    for (const [node, { until }] of this.#avoided) {
      if (until + forgottenMs <= now) this.#avoided.delete(node);
    }
    return new Set([...this.#avoided].filter(([, { until }]) => until > now).map(([node]) => node));
  }
}
