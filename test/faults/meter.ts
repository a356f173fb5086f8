/** How long a client went without an answer. */
export class Meter {
  #last: number | undefined;
  #longestMs = 0;
  answers = 0;

  /** Begins anew. */
  reset(now = performance.now()): void {
    this.#last = now;
    this.#longestMs = 0;
    this.answers = 0;
  }

  answered(now = performance.now()): void {
    if (this.#last !== undefined) this.#longestMs = Math.max(this.#longestMs, now - this.#last);
    this.#last = now;
    this.answers += 1;
  }

  /** The longest time between two answers since the reset, that since the last one included. */
  longestMs(now = performance.now()): number {
    return Math.max(this.#longestMs, this.#last === undefined ? 0 : now - this.#last);
  }
}
