import type { NodeEvent } from '../api/service.ts';

/** How many events are kept for followers that come back; older ones are forgotten. */
const kept = 2_000;

/** What happened on and around this node, newest last, in memory. */
export class EventLog {
  #events: NodeEvent[] = [];
  /** Begins above what an earlier run of the daemon gave out, for followers that come back. */
  #next: number;
  #listeners = new Set<(event: NodeEvent) => void>();
  readonly #node: string;
  readonly #now: () => string;

  constructor(node: string, now: () => string) {
    this.#node = node;
    this.#now = now;
    this.#next = Date.parse(now());
  }

  /** Records an event; `text` is one plain sentence. */
  emit(
    type: string,
    text: string,
    more: { volume?: string; values?: Record<string, unknown> } = {},
  ) {
    const event: NodeEvent = {
      id: this.#next++,
      at: this.#now(),
      type,
      node: this.#node,
      text,
      ...more,
    };
    this.#events.push(event);
    if (this.#events.length > kept) this.#events.splice(0, this.#events.length - kept);
    for (const listener of this.#listeners) listener(event);
  }

  /** Events with a higher id, oldest first. */
  after(id: number): NodeEvent[] {
    return this.#events.filter((e) => e.id > id);
  }

  onEvent(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
