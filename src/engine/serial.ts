/** Runs work one after another, in the order in which it was asked for. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  async run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return await result;
  }
}
