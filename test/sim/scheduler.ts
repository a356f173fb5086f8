import { type Scheduler, Violation } from './core.ts';

type Entry = { at: number; order: number; callback: (() => void) | null };

/** Turns of Node's event loop cost more than most events. */
const turnsAtOnce = 100;
/** More events than this at one instant: something spins without time passing. */
const mostAtOnce = 20_000;

/**
 * Simulated time. Events run one after another, by their time and, at the same time, in the order
 * in which they were asked for. Between two of them everything that promises still have to do is
 * done, so that the order never depends on the machine.
 */
export class SimScheduler implements Scheduler {
  #now = 0;
  #order = 0;
  #events = 0;
  #atOnce = 0;
  readonly #heap: Entry[] = [];

  now(): number {
    return this.#now;
  }

  /** Events so far. */
  events(): number {
    return this.#events;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const entry: Entry = {
      at: this.#now + Math.max(0, milliseconds),
      order: this.#order++,
      callback,
    };
    this.#push(entry);
    return () => {
      entry.callback = null;
    };
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.after(milliseconds, resolve));
  }

  /** Runs events until `done` holds or a violation was seen; resolves to that, or null. */
  run(done: () => boolean): Promise<Violation | null> {
    return new Promise((resolve) => {
      let over = false;
      const turn = () => {
        if (over) return;
        over = Violation.first !== null || done() || !this.#runNext();
        if (over) resolve(Violation.first);
      };
      // Node does all that promises have to do between two of these callbacks, too.
      const turns = () => {
        if (over) return;
        for (let i = 0; i < turnsAtOnce; i += 1) setImmediate(turn);
        setImmediate(turns);
      };
      turns();
    });
  }

  /** @returns false when nothing is left to happen or an event failed; both are violations. */
  #runNext(): boolean {
    try {
      const callback = this.#next();
      if (callback === null) throw new Violation('nothing will ever happen again');
      callback();
      return true;
    } catch (error) {
      if (!(error instanceof Violation)) {
        new Violation(`an event failed: ${error instanceof Error ? error.stack : String(error)}`);
      }
      return false;
    }
  }

  /** The callback of the next event; time moves to it. */
  #next(): (() => void) | null {
    for (;;) {
      const entry = this.#pop();
      if (entry === undefined) return null;
      const { callback } = entry;
      if (callback === null) continue;
      entry.callback = null;
      this.#atOnce = entry.at > this.#now ? 0 : this.#atOnce + 1;
      this.#now = entry.at;
      this.#events += 1;
      if (this.#atOnce > mostAtOnce) throw new Violation('events go on without time passing');
      return callback;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent] as Entry;
      if (!before(entry, above)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) {
        child += 1;
      }
      const below = heap[child] as Entry;
      if (!before(below, last)) break;
      heap[i] = below;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
