/** One turn for work that can wait, of all volumes of a node. */
export class Leisure {
  #taken = false;
  readonly #freed: () => void;

  /** @param freed called when the turn is free again. */
  constructor(freed: () => void) {
    this.#freed = freed;
  }

  get free(): boolean {
    return !this.#taken;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#taken = true;
    try {
      return await work();
    } finally {
      this.#taken = false;
      this.#freed();
    }
  }
}
