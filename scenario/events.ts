/** Keeps the events of all nodes, across restarts of their daemons. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabNode } from '../lab/node.ts';
import type { NodeEvent } from '../src/api/service.ts';

/** Pause before a node that does not answer is asked again, in milliseconds. */
const retryMs = 250;

export class EventRecorder {
  readonly #events: NodeEvent[] = [];
  readonly #seen = new Set<string>();
  readonly #stop = new AbortController();
  readonly #onEvent: (event: NodeEvent) => void;
  readonly #follows: Promise<void>[];

  constructor(nodes: readonly LabNode[], onEvent: (event: NodeEvent) => void) {
    this.#onEvent = onEvent;
    this.#follows = nodes.map((node) => this.#follow(node));
  }

  async #follow(node: LabNode): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        // Always from the first one: ids begin anew when a daemon starts.
        for await (const { event, data } of node.api.events('/v1/events?after=0', signal)) {
          if (event === 'message') this.#take(data as NodeEvent);
        }
      } catch {
        // The node is not up, or not any more: that is what the demo is about.
      }
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #take(event: NodeEvent): void {
    const key = `${event.node} ${event.id} ${event.at}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#events.push(event);
    this.#onEvent(event);
  }

  /** All events so far, in the order in which they were received. */
  get all(): readonly NodeEvent[] {
    return this.#events;
  }

  /** The events that happened after a moment of `performance.now()`. */
  since(momentMs: number): NodeEvent[] {
    return this.#events.filter((event) => momentOf(event) >= momentMs);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#follows);
  }
}

/** When an event happened, on the clock of `performance.now()`. */
export function momentOf(event: NodeEvent): number {
  return Date.parse(event.at) - performance.timeOrigin;
}
