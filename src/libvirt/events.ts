import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type DomainEvent, parseEventLine } from './event-line.ts';
import type { Virsh } from './virsh.ts';

export type { DomainEvent } from './event-line.ts';

/** The first pause before following again; it doubles up to the last while libvirt is not there. */
const firstPauseMs = 200;
const lastPauseMs = 60_000;
/** A follower that lived so long was a good one. */
const goodAfterMs = 5_000;

type Log = { debug(values: object, text: string): void };

/**
 * Follows the events of all domains behind one URI, by a `virsh event` that is started again
 * whenever it ends. An event is a reason to look, not the truth: some may be missed while libvirt
 * restarts, after which `following` comes.
 *
 * ```ts
 * const events = new DomainEvents(virsh, log);
 * const stop = events.on((event) => console.log(event.type));
 * events.start();
 * ```
 */
export class DomainEvents {
  readonly #virsh: Virsh;
  readonly #log: Log;
  readonly #listeners = new Set<(event: DomainEvent) => void>();
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = firstPauseMs;
  #stopped = true;

  constructor(virsh: Virsh, log: Log) {
    this.#virsh = virsh;
    this.#log = log;
  }

  /** Calls back at each event until the returned function is called. */
  on(listener: (event: DomainEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins to follow. */
  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#follow();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#child?.kill('SIGKILL');
  }

  #follow(): void {
    const began = performance.now();
    const [program = '', ...args] = this.#virsh.command(['event', '--all', '--loop']);
    const child = spawn(program, args, {
      cwd: '/',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    let said = '';
    createInterface({ input: child.stdout }).on('line', (text) => {
      const event = parseEventLine(text);
      if (event !== undefined) this.#tell(event);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-1_000);
    });
    let over = false;
    const ended = (): void => {
      if (over) return;
      over = true;
      if (this.#stopped) return;
      if (performance.now() - began > goodAfterMs) this.#pauseMs = firstPauseMs;
      const { uri } = this.#virsh;
      this.#log.debug({ uri, said: said.trim(), pauseMs: this.#pauseMs }, 'virsh event ended');
      this.#timer = setTimeout(() => this.#follow(), this.#pauseMs);
      this.#timer.unref();
      this.#pauseMs = Math.min(this.#pauseMs * 2, lastPauseMs);
    };
    child.once('close', ended);
    child.once('error', ended);
    this.#tell({ type: 'following' });
  }

  #tell(event: DomainEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
