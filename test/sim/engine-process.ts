import type { Core, Machine } from './core.ts';

/** How soon a stopped process is looked at again. */
const lookMs = 20;

/** When each machine was last seen frozen; what ran before sees the world late after that. */
const lastFrozen = new WeakMap<Machine, number>();

/** Simulated time at which a machine was last seen frozen, -Infinity when it never was. */
export function frozenAt(machine: Machine): number {
  return lastFrozen.get(machine) ?? Number.NEGATIVE_INFINITY;
}

/** A process on a machine: it can be stopped and go on, and it dies once. */
export class SimProcess {
  readonly core: Core;
  readonly machine: Machine;
  readonly name: string;
  readonly pid: number;
  #alive = true;
  #frozen = false;
  #backlog: (() => void)[] = [];
  readonly #gone = new Set<() => void>();

  constructor(core: Core, machine: Machine, name: string) {
    this.core = core;
    this.machine = machine;
    this.name = name;
    this.pid = core.random.int(1_000, 4_000_000);
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    if (this.machine.frozen) lastFrozen.set(this.machine, this.core.scheduler.now());
    return this.#frozen || this.machine.frozen;
  }

  /** Runs work at once; when the process is stopped, in order after it goes on; never once dead. */
  whenRunning(work: () => void): void {
    if (!this.#alive) return;
    if (!this.frozen && this.#backlog.length === 0) {
      work();
      return;
    }
    this.#backlog.push(work);
    if (this.#backlog.length === 1) this.#look();
  }

  /** A timer of this process. Returns a function that cancels. */
  after(milliseconds: number, work: () => void): () => void {
    let cancelled = false;
    const cancel = this.core.scheduler.after(milliseconds, () => {
      this.whenRunning(() => {
        if (!cancelled) work();
      });
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  /** SIGSTOP. */
  freeze(): void {
    this.#frozen = true;
  }

  /** SIGCONT. */
  thaw(): void {
    this.#frozen = false;
  }

  /** SIGKILL, or its end with the machine's power. */
  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#backlog = [];
    this.note('ended');
    this.ended();
    for (const listener of [...this.#gone]) listener();
    this.#gone.clear();
  }

  /** Calls back when it dies; returns an unsubscribe function. */
  onGone(listener: () => void): () => void {
    this.#gone.add(listener);
    return () => this.#gone.delete(listener);
  }

  note(text: string): void {
    this.core.trace.note(this.machine.name, `${this.name}: ${text}`);
  }

  /** What the end of this kind of process does to the world; called once. */
  protected ended(): void {}

  #look(): void {
    this.core.scheduler.after(lookMs, () => {
      if (!this.#alive) return;
      while (this.#alive && !this.frozen) {
        const work = this.#backlog[0];
        if (work === undefined) return;
        work();
        this.#backlog.shift();
      }
      if (this.#alive) this.#look();
    });
  }
}
