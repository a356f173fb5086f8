import type { Scheduler, Trace } from './core.ts';

const kept = 4_000;

/** The last lines of what happened, and a hash over all of them: equal seeds give equal hashes. */
export class RingTrace implements Trace {
  readonly #scheduler: Scheduler;
  readonly #lines: string[] = [];
  #written = 0;
  #hash = 0x811c9dc5;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  note(where: string, text: string): void {
    const line = `${this.#scheduler.now().toFixed(1).padStart(9)} ${where.padEnd(9)} ${text}`;
    this.#lines[this.#written % kept] = line;
    this.#written += 1;
    let hash = this.#hash;
    for (let i = 0; i < line.length; i += 1) {
      hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    }
    this.#hash = hash;
  }

  /** The last lines, oldest first. */
  last(count: number): string[] {
    const from = Math.max(0, this.#written - Math.min(count, kept));
    return Array.from(
      { length: this.#written - from },
      (_, i) => this.#lines[(from + i) % kept] as string,
    );
  }

  /** FNV-1a over every line ever noted. */
  hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }
}
