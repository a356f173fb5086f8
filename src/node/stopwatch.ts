/** Measures the parts of something that takes time, one after the other. */
export class Stopwatch {
  /** Milliseconds of each part, rounded to a tenth. */
  readonly laps: Record<string, number> = {};
  readonly #clock: () => number;
  #last: number;

  /** @param clock monotonic milliseconds. */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#last = clock();
  }

  /** The part that has just ended has this name. */
  lap(name: string): void {
    const now = this.#clock();
    this.laps[name] = Math.round((now - this.#last) * 10) / 10;
    this.#last = now;
  }
}
