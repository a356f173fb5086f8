import type { PeerService } from '../../src/api/service.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../../src/errors.ts';
import type { ScrubMemory } from '../../src/node/scrub-memory.ts';
import type { Scrubbed } from '../../src/node/scrub-plan.ts';
import type { Service } from '../../src/node/service.ts';
import type { EtcdStore } from '../../src/store/etcd-store.ts';
import { type Machine, Violation } from './core.ts';
import { newBoot } from './machine.ts';
import { composeDaemon } from './node-daemon.ts';
import { NodeRun } from './node-run.ts';
import type { NodeWorld } from './node-world.ts';
import { execute, type Reply } from './peers.ts';

/** How a user's call ended. */
export type Outcome<T> = { ok: true; value: T } | { ok: false; error: unknown };

/** A machine with its daemon: the real agent and service in simulated surroundings. */
export class Node {
  readonly machine: Machine;
  readonly #world: NodeWorld;
  #run: NodeRun | null = null;
  #service: Service | null = null;
  #store: EtcdStore | null = null;
  #headsAreNewest: () => boolean = () => false;
  /** What the watchdog's file says; it outlives the daemon, not the machine. */
  #leaseTold = 0;
  /** In the pool. */
  readonly scrubMemory = memory();
  /** How far watches of this node lag, milliseconds. */
  lagMs = 0;

  constructor(world: NodeWorld, machine: Machine) {
    this.#world = world;
    this.machine = machine;
  }

  /** The API of the daemon; null while it does not listen. */
  get service(): Service | null {
    return this.#service;
  }

  get daemonRuns(): boolean {
    return this.#run !== null;
  }

  get daemonFrozen(): boolean {
    return this.#run?.frozen === true;
  }

  /** When the lease was confirmed, as the watchdog may read it. */
  leaseConfirmed(): number {
    if (this.#store !== null && !this.daemonFrozen && this.#headsAreNewest()) {
      this.#leaseTold = Math.max(this.#leaseTold, this.#store.leaseConfirmedAt());
    }
    return this.#leaseTold;
  }

  /** Starts the daemon, unless it runs or the machine is off. */
  startDaemon(): void {
    if (this.#run !== null || !this.machine.powered) return;
    const { core } = this.#world;
    const run = new NodeRun(core.scheduler);
    this.#run = run;
    if (this.machine.frozen) run.freeze();
    this.#note('daemon starts');
    this.#begin(run).catch((error: unknown) => {
      if (run.gone) return;
      this.#note(`daemon ends: ${errorText(error)}`);
      this.killDaemon();
    });
  }

  /** SIGKILL of the daemon; its supervision starts another after a while. */
  killDaemon(): void {
    if (this.#run === null) return;
    const { core } = this.#world;
    this.#note('daemon is gone');
    this.#endDaemon();
    core.scheduler.after(core.random.int(100, 2_500), () => this.startDaemon());
  }

  freezeDaemon(): void {
    this.#note('daemon is frozen');
    this.#run?.freeze();
  }

  thawDaemon(): void {
    if (this.machine.frozen) return;
    this.#note('daemon goes on');
    this.#run?.thaw();
  }

  /** Everything on the machine stands still. */
  freeze(): void {
    this.#note('machine is frozen');
    this.machine.frozen = true;
    this.#run?.freeze();
  }

  thaw(): void {
    if (!this.machine.frozen) return;
    this.#note('machine goes on');
    this.machine.frozen = false;
    this.#run?.thaw();
  }

  powerCut(): void {
    if (!this.machine.powered) return;
    this.#note('power cut');
    this.#world.processes.powerCut(this.machine);
    this.machine.powered = false;
    this.machine.frozen = false;
    this.#leaseTold = 0;
    this.#endDaemon();
  }

  boot(): void {
    if (this.machine.powered) return;
    this.machine.boot = newBoot(this.#world.core);
    this.machine.powered = true;
    this.#note(`boots as ${this.machine.boot}`);
    this.#world.processes.boot(this.machine);
    this.startDaemon();
  }

  /** A call of another daemon has arrived. */
  answer(method: keyof PeerService, body: string, reply: (outcome: Reply) => void): void {
    const run = this.#run;
    if (run === null || (this.#service === null && !run.frozen)) {
      reply({ error: refused(this.machine.name) });
      return;
    }
    let over = false;
    const once = (outcome: Reply) => {
      if (over) return;
      over = true;
      off();
      reply(outcome);
    };
    const off = run.onEnd(() => {
      if (this.machine.powered) once({ error: refused(this.machine.name) });
    });
    run.deliver(() => {
      const service = this.#service;
      if (service === null) {
        once({ error: refused(this.machine.name) });
        return;
      }
      execute(service.peer, method, body, (error) => this.#unexpected(method, error)).then(
        once,
        (error: unknown) => this.#unexpected(method, error),
      );
    });
  }

  /** A user's call to this daemon's API; `call` begins in the daemon. */
  ask<T>(
    timeoutMs: number,
    call: (service: Service, signal: AbortSignal) => Promise<T>,
  ): Promise<Outcome<T>> {
    const run = this.#run;
    const { scheduler } = this.#world.core;
    return new Promise((resolve) => {
      const controller = new AbortController();
      const given = new HyperscaleError('cancelled', 'the user does not wait any longer');
      const end = (outcome: Outcome<T>) => {
        cancel();
        off();
        resolve(outcome);
      };
      const lost = (text: string) =>
        end({ ok: false, error: new HyperscaleError('timeout', text) });
      const cancel = scheduler.after(timeoutMs, () => {
        lost('no answer in time');
        run?.deliver(() => controller.abort(given));
      });
      const off = run?.onEnd(() => lost('the daemon is gone')) ?? (() => undefined);
      const begin = async () => {
        const service = this.#service;
        if (service === null) throw refused(this.machine.name);
        return call(service, controller.signal);
      };
      const start = () => {
        begin().then(
          (value) => end({ ok: true, value }),
          (error: unknown) => {
            if (!isHyperscaleError(error) || isHyperscaleError(error, 'rule-broken')) {
              this.#unexpected('a call of a user', error);
            }
            end({ ok: false, error });
          },
        );
      };
      if (run === null) scheduler.after(1, () => lost('connection refused'));
      else run.deliver(start);
    });
  }

  #endDaemon(): void {
    if (this.#run === null) return;
    const run = this.#run;
    this.leaseConfirmed();
    this.#run = null;
    this.#service = null;
    this.#store = null;
    run.end();
    this.#world.processes.daemonGone(this.machine);
  }

  async #begin(run: NodeRun): Promise<void> {
    const { store, headsAreNewest, listen } = await composeDaemon(this.#world, this, run);
    this.#headsAreNewest = headsAreNewest;
    this.#store = store;
    this.#service = await listen();
    this.#note('daemon is ready');
  }

  /** The API answers `internal` then. An error of the system is told so; anything else is a defect. */
  #unexpected(method: string, error: unknown): void {
    if (error instanceof Error && /^E[A-Z]+: /.test(error.message)) {
      this.#note(`${method}: ${error.message}`);
      return;
    }
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#note(new Violation(`${method} failed unexpectedly: ${text}`).message);
  }

  #note(text: string): void {
    this.#world.core.trace.note(this.machine.name, text);
  }
}

function memory(): ScrubMemory {
  let kept: Scrubbed | null = null;
  return {
    read: () => Promise.resolve(kept),
    write: (scrubbed) => {
      kept = scrubbed;
      return Promise.resolve();
    },
  };
}

function refused(name: string): HyperscaleError {
  return new HyperscaleError('node-down', `cannot reach ${name}: connection refused`);
}
