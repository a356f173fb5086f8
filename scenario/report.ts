/** What the demo found out: figures and checks. */
import { execFileSync } from 'node:child_process';
import { arch, availableParallelism, release, totalmem } from 'node:os';

export type Check = { name: string; ok: boolean; detail: string };

/** How long the guest wrote nothing because of one fault. */
export type Stall = {
  fault: string;
  seconds: number;
  /** At most this long; null where none is promised. */
  targetSeconds: number | null;
  /** The part of it after the system had noticed; null when no event tells. */
  afterDetectionSeconds: number | null;
};

export type Speed = { name: string; iops: number; megabytesPerSecond: number; p99Ms: number };

/** What is known at the end; null until then, so after a failure it says what was not reached. */
export type Figures = {
  stalls: Stall[];
  records: {
    reported: number;
    verified: number;
    lost: number;
    perSecond: number;
    /** The longest pause before any fault, in seconds: what is normal on this machine. */
    longestPauseUndisturbed: number;
  } | null;
  takeOver: { secondsUntilAttached: number; from: string; to: string } | null;
  mended: { bytes: number; copies: number; secondsUntilHealthy: number } | null;
  copies: { layers: number; files: number; allocatedBytes: number } | null;
  speed: { what: string; runs: Speed[] } | null;
};

export type Machine = { cores: number; memoryBytes: number; system: string; qemu: string };

/** The whole report, as `--json` writes it. */
export type ReportDocument = {
  ok: boolean;
  startedAt: string;
  seconds: number;
  machine: Machine;
  figures: Figures;
  checks: Check[];
  failure: string | null;
};

export class Report {
  readonly figures: Figures = {
    stalls: [],
    records: null,
    takeOver: null,
    mended: null,
    copies: null,
    speed: null,
  };
  readonly machine: Machine = describeMachine();
  readonly #checks: Check[] = [];
  readonly #startedAt = new Date().toISOString();
  readonly #began = performance.now();
  #failure: string | null = null;

  /** Notes whether something held; the demo goes on in any case. */
  check(name: string, ok: boolean, detail: string): void {
    this.#checks.push({ name, ok, detail });
  }

  /** The demo ended before its end. */
  fail(text: string): void {
    this.#failure = text;
  }

  get document(): ReportDocument {
    const ok = this.#failure === null && this.#checks.every((check) => check.ok);
    return {
      ok,
      startedAt: this.#startedAt,
      seconds: (performance.now() - this.#began) / 1000,
      machine: this.machine,
      figures: this.figures,
      checks: this.#checks,
      failure: this.#failure,
    };
  }
}

function describeMachine(): Machine {
  let qemu = 'unknown';
  try {
    const said = execFileSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8' });
    qemu = /version (\S+)/.exec(said)?.[1] ?? qemu;
  } catch {
    // Its absence will be told by the first node that needs it.
  }
  return {
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `Linux ${release()} ${arch()}`,
    qemu,
  };
}
