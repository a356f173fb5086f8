import type { Endpoint } from '../../src/api/service.ts';
import type { Checker } from './checker.ts';
import type { Core, Machine } from './core.ts';
import { NbdClient } from './engine-client.ts';
import type { BlockRequest } from './engine-connection.ts';
import { SimProcess } from './engine-process.ts';
import type { Processes } from './processes.ts';

/** Milliseconds between requests: short bursts, then quiet. */
const busyMs = [1, 40] as const;
const quietMs = [20, 500] as const;
const mostInFlight = 4;
/** Writes that hang do not keep it from reading. */
const mostWrites = 2;
/** A guest whose request failed is stopped, and repeats it when it is resumed. */
const resumeMs = [100, 1_500] as const;

/** The name of a guest's process. */
export function guestName(volume: string): string {
  return `guest ${volume.slice(0, 4)}`;
}

/**
 * A guest's disk: reads, writes and flushes a few blocks through the attachment's socket. Like QEMU
 * with a reconnect delay it connects again when the connection is lost and repeats what was not
 * answered. Two writes of one block are never under way at once, and no block is read meanwhile.
 */
export class Consumer {
  readonly volume: string;
  readonly machine: Machine;
  readonly #core: Core;
  readonly #processes: Processes;
  readonly #checker: Checker;
  readonly #writes: boolean;
  #process: SimProcess | null = null;
  #client: NbdClient | null = null;
  #session = '';
  #stopping = false;
  #paused = false;
  /** The most blocks that its disk had. */
  #seen = 0;
  /** Blocks of writes under way, and the writes. */
  readonly #writing = new Map<number, number>();
  #inFlight = 0;
  #busyLeft = 0;
  readonly #whenSettled: (() => void)[] = [];
  /** Requests answered. */
  done = 0;

  constructor(
    core: Core,
    processes: Processes,
    checker: Checker,
    machine: Machine,
    volumeId: string,
    writes = true,
  ) {
    this.#writes = writes;
    this.#core = core;
    this.#processes = processes;
    this.#checker = checker;
    this.machine = machine;
    this.volume = volumeId;
  }

  get session(): string {
    return this.#session;
  }

  /** The size of its disk as it knows it; 0 while it is not connected for the first time. */
  get blocks(): number {
    return this.#client?.blocks ?? 0;
  }

  get running(): boolean {
    return this.#process?.alive === true;
  }

  /** Connects to the endpoint and begins to use it. */
  start(endpoint: Endpoint): void {
    const process = new SimProcess(this.#core, this.machine, guestName(this.volume));
    const host = this.#processes.host(this.machine);
    this.#process = process;
    this.#session = endpoint.session;
    this.#stopping = false;
    this.#busyLeft = 10;
    host.consumers.add(process);
    process.onGone(() => {
      host.consumers.delete(process);
      this.#ended();
    });
    this.#client = new NbdClient(process, host.localDial(process, this.volume, this.#session));
    process.note(`uses volume ${this.volume.slice(0, 8)} as ${this.#session.slice(0, 6)}`);
    this.#think();
  }

  /** Issues nothing more until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenSettled.push(resolve));
  }

  /** Closes in good order: issues nothing more, waits for what is under way, disconnects. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.settled();
    this.vanish();
  }

  /** Dies, at once and for good. */
  vanish(): void {
    this.#process?.kill();
    this.#process = null;
    this.#client = null;
  }

  /**
   * Stays behind when its session is detached: what it has under way, and one more write, it keeps
   * trying to repeat on the old session until it is ended.
   */
  haunt(): void {
    this.#stopping = true;
    const block = this.#core.random.int(0, Math.max(0, this.blocks - 1));
    if (this.running && !this.#writing.has(block)) this.#write(block);
  }

  #ended(): void {
    this.#client?.close();
    for (const value of this.#writing.values()) this.#checker.abandoned(this.volume, value);
    this.#writing.clear();
    this.#inFlight = 0;
    this.#settle();
  }

  #think(): void {
    const { random } = this.#core;
    if (this.#busyLeft === 0 && random.chance(0.1)) this.#busyLeft = random.int(4, 30);
    const [least, most] = this.#busyLeft > 0 ? busyMs : quietMs;
    this.#busyLeft = Math.max(0, this.#busyLeft - 1);
    this.#process?.after(random.int(least, most), () => {
      if (!this.#stopping && !this.#paused && this.#inFlight < mostInFlight) this.#issue();
      this.#think();
    });
  }

  #issue(): void {
    const { random } = this.#core;
    const blocks = this.blocks;
    if (blocks < this.#seen) {
      this.#checker.fail(
        `the disk of ${guestName(this.volume)} has ${blocks} blocks, it had ${this.#seen}`,
      );
    }
    this.#seen = blocks;
    if (blocks === 0) return;
    const block = random.int(0, blocks - 1);
    const dice = random.int(0, 9);
    if (!this.#writes) this.#read(block);
    else if (dice === 0 && this.#writing.size === 0) {
      this.#send({ kind: 'flush', block, value: 0 }, () => undefined);
    } else if (this.#writing.has(block)) return;
    else if (dice < 6 && this.#writing.size < mostWrites) this.#write(block);
    else this.#read(block);
  }

  #write(block: number): void {
    const value = this.#checker.issue(this.volume, block, this.#session);
    this.#writing.set(block, value);
    this.#send({ kind: 'write', block, value }, () => {
      this.#writing.delete(block);
      this.#checker.acknowledged(this.volume, value);
    });
  }

  #read(block: number): void {
    const begun = this.#checker.readBegun(this.volume, block, this.machine);
    this.#send({ kind: 'read', block, value: 0 }, (value) => this.#checker.readEnded(begun, value));
  }

  /** Asks until it is answered well. */
  #send(request: BlockRequest, done: (value: number) => void): void {
    this.#inFlight += 1;
    const ask = () => {
      this.#client?.request(request, (reply) => {
        if (!reply.ok) {
          const { random } = this.#core;
          this.#process?.after(random.int(...resumeMs), ask);
          return;
        }
        this.#inFlight -= 1;
        this.done += 1;
        done(reply.value);
        this.#settle();
      });
    };
    ask();
  }

  #settle(): void {
    if (this.#inFlight > 0) return;
    for (const resolve of this.#whenSettled.splice(0)) resolve();
  }
}
