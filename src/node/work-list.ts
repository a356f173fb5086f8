import type { Work } from '../api/service.ts';

/** Background work under way on this node, with its progress, for people to see. */
export class WorkList {
  readonly #entries = new Set<Work>();

  /** Lists `work` while `body` runs. */
  async during<T>(work: Work, body: (entry: Work) => Promise<T>): Promise<T> {
    this.#entries.add(work);
    try {
      return await body(work);
    } finally {
      this.#entries.delete(work);
    }
  }

  list(): Work[] {
    return [...this.#entries].map((w) => ({ ...w }));
  }
}
