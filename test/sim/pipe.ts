import type { Core } from './core.ts';

/** `delay`: milliseconds that what is sent now is under way. */
export type Link = { passes: () => boolean; delay: () => number };

type Message = { at: number; arrive: () => void };

/** After the sender closed, what it had sent is tried this often before it is given up. */
const lingeringAttempts = 20;

/**
 * One direction of a TCP connection: what is sent arrives in order, waits while the link is cut,
 * and may arrive long after the sender gave up, or even closed.
 */
export class Pipe {
  readonly #core: Core;
  readonly #link: Link;
  readonly #queue: Message[] = [];
  #pumping = false;
  #attempts = Number.POSITIVE_INFINITY;

  constructor(core: Core, link: Link) {
    this.#core = core;
    this.#link = link;
  }

  send(arrive: () => void): void {
    const earliest = this.#queue.at(-1)?.at ?? 0;
    const at = Math.max(earliest, this.#core.scheduler.now() + this.#link.delay());
    this.#queue.push({ at, arrive });
    if (!this.#pumping) this.#pump();
  }

  /** The sender is gone; some of what it sent last may never have left it. */
  close(): void {
    const { random } = this.#core;
    if (this.#queue.length > 0) this.#queue.length = random.int(0, this.#queue.length);
    this.#attempts = lingeringAttempts;
  }

  /** The connection was reset: nothing more arrives. */
  drop(): void {
    this.#queue.length = 0;
    this.#attempts = 0;
  }

  #pump(): void {
    const first = this.#queue[0];
    this.#pumping = first !== undefined && this.#attempts > 0;
    if (first === undefined || !this.#pumping) return;
    const { scheduler, random } = this.#core;
    scheduler.after(first.at - scheduler.now(), () => {
      if (this.#queue[0] !== first) {
        this.#pump();
        return;
      }
      if (this.#link.passes()) {
        this.#queue.shift();
        first.arrive();
      } else {
        this.#attempts -= 1;
        first.at = scheduler.now() + random.int(100, 400);
      }
      this.#pump();
    });
  }
}
