import type { Core, Machine, Network } from './core.ts';
import type { SimProcess } from './engine-process.ts';

/** What goes over an NBD connection. `value` is the number of the write; reads and flushes: 0. */
export type BlockRequest = { kind: 'read' | 'write' | 'flush'; block: number; value: number };
export type BlockReply = { ok: true; value: number } | { ok: false; error: string };
export type ReplyTo = (reply: BlockReply) => void;

/** A process that serves exports. */
export interface BlockServer extends SimProcess {
  /** What it tells a client of the size of an export. */
  readonly blocks: number;
  /** A client has asked for an export; false when there is none of that name. */
  opened(connection: Connection): boolean;
  serve(connection: Connection, request: BlockRequest, reply: ReplyTo): void;
}

/** Where packets go from and to. */
export type Route = { core: Core; network: Network; from: Machine; to: Machine };

const localMs = 0.1;
const firstAgainMs = 200;
const lastAgainMs = 1_600;
/** A kernel goes on sending for a process that was killed. */
const orphanMs = 10_000;

const kernelRuns = (machine: Machine) => machine.powered && !machine.frozen;

/**
 * One direction of a TCP connection: in order, repeated until it arrives, however long the link is
 * cut. Only what was sent can arrive late.
 */
export class Wire {
  readonly #route: Route;
  readonly #queue: (() => void)[] = [];
  #sending = false;
  #cut = false;

  constructor(route: Route) {
    this.#route = route;
  }

  send(deliver: () => void): void {
    if (this.#cut) return;
    this.#queue.push(deliver);
    if (!this.#sending) this.#next();
  }

  /** Nothing that is still on its way arrives. */
  cut(): void {
    this.#cut = true;
    this.#queue.length = 0;
  }

  /** The sending process died; its kernel goes on for a while. */
  orphan(): void {
    const { core, from } = this.#route;
    if (!from.powered) this.cut();
    else core.scheduler.after(core.random.int(0, orphanMs), () => this.cut());
  }

  #next(): void {
    const deliver = this.#queue[0];
    this.#sending = deliver !== undefined;
    if (deliver === undefined) return;
    const { core, network, from, to } = this.#route;
    let arrived = false;
    let cancel = () => {};
    const arrive = () => {
      if (arrived || this.#cut || !kernelRuns(to)) return;
      arrived = true;
      cancel();
      this.#queue.shift();
      deliver();
      this.#next();
    };
    if (from === to) {
      const local = () => {
        if (to.frozen && !this.#cut) core.scheduler.after(firstAgainMs, local);
        else arrive();
      };
      core.scheduler.after(localMs, local);
      return;
    }
    const send = (againMs: number) => {
      if (arrived || this.#cut) return;
      if (kernelRuns(from)) network.send(from.name, to.name, arrive);
      cancel = core.scheduler.after(againMs, () => send(Math.min(againMs * 2, lastAgainMs)));
    };
    send(firstAgainMs);
  }
}

/** An NBD connection of a client process to one export of a server process. */
export class Connection {
  readonly exportName: string;
  readonly client: SimProcess;
  readonly server: BlockServer;
  readonly #network: Network;
  readonly #there: Wire;
  readonly #back: Wire;
  readonly #unsubscribe: (() => void)[];
  #closed = false;
  #hungUp = false;
  #onClosed: () => void = () => undefined;

  /** The client wants to write. */
  readonly writes: boolean;

  constructor(
    network: Network,
    client: SimProcess,
    server: BlockServer,
    exportName: string,
    writes: boolean,
  ) {
    this.exportName = exportName;
    this.writes = writes;
    this.client = client;
    this.server = server;
    this.#network = network;
    this.#there = new Wire(this.#route(client.machine, server.machine));
    this.#back = new Wire(this.#route(server.machine, client.machine));
    this.#unsubscribe = [
      client.onGone(() => this.#clientGone()),
      server.onGone(() => this.hangUp()),
    ];
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** As the server sees it. */
  get served(): boolean {
    return !this.#closed && !this.#hungUp;
  }

  request(request: BlockRequest, reply: ReplyTo): void {
    if (this.#closed) return;
    const answer: ReplyTo = (outcome) => {
      this.#back.send(() =>
        this.client.whenRunning(() => {
          if (!this.#closed) reply(outcome);
        }),
      );
    };
    this.#there.send(() => {
      this.server.whenRunning(() => this.server.serve(this, request, answer));
    });
  }

  /** Called once when the client learns that the connection is over. */
  onClosed(listener: () => void): void {
    this.#onClosed = listener;
  }

  /** The server ends it: no reply goes out any more, and nothing more is read from it. */
  hangUp(): void {
    this.#hungUp = true;
    this.#there.cut();
    this.#back.cut();
    const last = new Wire(this.#route(this.server.machine, this.client.machine));
    last.send(() => this.client.whenRunning(() => this.#end()));
    const off = this.client.onGone(() => last.cut());
    this.#unsubscribe.push(off);
  }

  /** The client ends it; what it has sent may still arrive. */
  close(): void {
    if (this.#closed) return;
    this.#clientGone();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const off of this.#unsubscribe) off();
    this.#onClosed();
  }

  #clientGone(): void {
    this.#closed = true;
    for (const off of this.#unsubscribe) off();
    this.#there.orphan();
    this.#back.cut();
    const off = this.server.onGone(() => this.#there.cut());
    this.client.core.scheduler.after(orphanMs, off);
  }

  #route(from: Machine, to: Machine): Route {
    return { core: this.client.core, network: this.#network, from, to };
  }
}
