/** Callers that wait for a condition which changes only when they are told to look again. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Everybody looks again. */
  notify(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves when `met` holds; rejects when `signal` aborts or `met` throws. */
  async until(met: () => boolean, signal: AbortSignal): Promise<void> {
    while (!met()) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const look = () => {
          this.#waiting.delete(look);
          signal.removeEventListener('abort', look);
          resolve();
        };
        this.#waiting.add(look);
        signal.addEventListener('abort', look);
      });
    }
  }
}
