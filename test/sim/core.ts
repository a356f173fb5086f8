/**
 * What every part of the simulated cluster stands on. All of it is made from one 32-bit seed; no
 * part may use a real clock, a real timer, real randomness, or real input and output.
 */

/** Chance, from the seed. */
export interface Random {
  /** An integer from `least` to `most`, both included. */
  int(least: number, most: number): number;
  /** True with probability `p`, 0 to 1. */
  chance(p: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T;
  /** `digits` hex digits. */
  hex(digits: number): string;
}

/** Simulated time: milliseconds since the history began. It moves only from event to event. */
export interface Scheduler {
  now(): number;
  /** Calls back once after `milliseconds`; returns a function that cancels. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Resolves after `milliseconds`. */
  sleep(milliseconds: number): Promise<void>;
}

/** What happened, for the reader of a failing history; the last few thousand lines are kept. */
export interface Trace {
  /** @param where a node, a process or `checker` */
  note(where: string, text: string): void;
}

/** Thrown by a checker: a promise was broken. Ends the history as failed. */
export class Violation extends Error {
  /** The first one of the history that runs, whoever may have caught it. */
  static first: Violation | null = null;

  constructor(message: string) {
    super(message);
    Violation.first ??= this;
  }
}

export type Core = { random: Random; scheduler: Scheduler; trace: Trace };

/** Which messages arrive. Every pair of machines has two directions, cut and healed separately. */
export interface Network {
  /** True when a message sent now from one machine to another would arrive at all. */
  reachable(from: string, to: string): boolean;
  /**
   * Carries one message: `arrive` runs after a delay, unless the link is cut when it is sent or
   * when it would arrive, or the message is lost. Nothing tells the sender.
   */
  send(from: string, to: string, arrive: () => void): void;
}

/**
 * One machine: survives everything but holds only what its disk kept. `boot` changes with every
 * power cut. Processes on it (daemon, heads, replica server) live in the modules that own them.
 */
export interface Machine {
  readonly name: string;
  readonly pool: string;
  readonly address: string;
  boot: string;
  /** False between a power cut and the next boot. */
  powered: boolean;
  /** True while every process on it is stopped (SIGSTOP of all, a hung kernel). */
  frozen: boolean;
  /** Its daemon only uses volumes. */
  withoutPool?: true;
}
