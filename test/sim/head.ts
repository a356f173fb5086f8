import type { HeadFault, HeadSpec } from '../../src/engine/engine.ts';
import type { Limits } from '../../src/volume/types.ts';
import type { Checker } from './checker.ts';
import type { Core } from './core.ts';
import { blocksOf, type Copy } from './disk.ts';
import type { NbdClient } from './engine-client.ts';
import type {
  BlockReply,
  BlockRequest,
  BlockServer,
  Connection,
  ReplyTo,
} from './engine-connection.ts';
import type { Host } from './engine-host.ts';
import { SimProcess } from './engine-process.ts';

/** Seconds in which a peer must answer while a graph is built. */
const openTimeoutMs = 2_000;

type Session = {
  connections: Set<Connection>;
  removing: boolean;
  pending: number;
  whenSettled: (() => void)[];
};
type Pending = { session: string; request: BlockRequest; local: 'none' | 'queued' | 'done' };

/** A place that a layer is read from or written to. */
type Place = { copy: Copy } | { peer: string; link: NbdClient };

/** The process that serves a volume's consumers from the layers that its specification names. */
export class HeadProcess extends SimProcess implements BlockServer {
  readonly spec: HeadSpec;
  readonly blocks: number;
  limits: Limits;
  /** Every member error since it started, also those that no daemon listened to. */
  readonly faults: Extract<HeadFault, { kind: 'member-error' }>[] = [];
  onMemberError: (fault: HeadFault) => void = () => undefined;
  readonly #host: Host;
  readonly #checker: Checker;
  readonly #sessions = new Map<string, Session>();
  readonly #pending = new Set<Pending>();
  /** By block: what waits for the newest write of it. */
  readonly #turns = new Map<number, (() => void)[]>();
  readonly #whenIdle: (() => void)[] = [];
  readonly #members: Place[] = [];
  /** Newest first. */
  readonly #sealed: Place[] = [];

  constructor(core: Core, host: Host, checker: Checker, spec: HeadSpec) {
    super(core, host.machine, `head:${spec.open.layer.epoch}`);
    this.spec = spec;
    this.blocks = blocksOf(spec.sizeBytes);
    this.limits = spec.limits;
    this.#host = host;
    this.#checker = checker;
    for (const session of spec.sessions) this.addSession(session);
  }

  /** Builds the graph: opens files and connects to peers. Calls back with what went wrong, or null. */
  build(done: (error: string | null) => void): void {
    const links: NbdClient[] = [];
    const place = (
      layer: string,
      local: boolean,
      peer: { node: string } | undefined,
      writes: boolean,
    ): Place => {
      if (local) {
        const copy = this.#host.disk.copies.get(layer);
        if (copy === undefined) throw new Error(`Could not open layer ${layer}: No such file`);
        return { copy };
      }
      const link = this.#host.linkTo(this, peer?.node ?? '', layer, writes);
      links.push(link);
      return { peer: peer?.node ?? '', link };
    };
    try {
      for (const { layer, local, peers, fromBackup } of this.spec.sealed) {
        const [peer] = peers;
        if (fromBackup === true && peer !== undefined) {
          const link = this.#host.streamTo(this, peer.node, layer.layer, peer.port);
          links.push(link);
          this.#sealed.unshift({ peer: peer.node, link });
        } else this.#sealed.unshift(place(layer.layer, local, peer, false));
      }
      const { layer, local, peers } = this.spec.open;
      if (local) this.#members.push(place(layer.layer, true, undefined, true));
      for (const peer of peers) this.#members.push(place(layer.layer, false, peer, true));
    } catch (error) {
      done(String(error));
      return;
    }
    let left = links.length;
    let failed = false;
    if (left === 0) done(null);
    for (const link of links) {
      link.opened(openTimeoutMs, (open) => {
        left -= 1;
        if (failed) return;
        failed = !open;
        if (failed) done('a peer does not export the layer');
        else if (left === 0) done(null);
      });
    }
  }

  get sessions(): string[] {
    return [...this.#sessions].filter(([, s]) => !s.removing).map(([name]) => name);
  }

  /** How many clients are connected. */
  connections(): number {
    const all = [...this.#sessions.values()].flatMap((s) => [...s.connections]);
    return all.filter((connection) => connection.served).length;
  }

  /** Requests of the session may still be finished here. */
  serves(session: string): boolean {
    return this.#sessions.has(session);
  }

  addSession(session: string): void {
    if (this.#sessions.has(session)) return;
    const fresh = {
      connections: new Set<Connection>(),
      removing: false,
      pending: 0,
      whenSettled: [],
    };
    this.#sessions.set(session, fresh);
  }

  /** Hangs up on the session's clients; calls back when their requests are finished. */
  removeSession(session: string, settled: () => void): void {
    const entry = this.#sessions.get(session);
    if (entry === undefined) {
      settled();
      return;
    }
    entry.removing = true;
    for (const connection of entry.connections) connection.hangUp();
    entry.connections.clear();
    entry.whenSettled.push(settled);
    this.#settle(session, entry);
  }

  opened(connection: Connection): boolean {
    const session = this.#sessions.get(connection.exportName);
    if (session === undefined || session.removing) return false;
    session.connections.add(connection);
    return true;
  }

  serve(connection: Connection, request: BlockRequest, reply: ReplyTo): void {
    const name = connection.exportName;
    const session = this.#sessions.get(name);
    if (session === undefined || session.removing) return;
    if (request.block >= this.blocks) {
      reply({ ok: false, error: 'EINVAL' });
      return;
    }
    session.pending += 1;
    const pending: Pending = { session: name, request, local: 'none' };
    this.#pending.add(pending);
    if (request.kind === 'write') this.#checker.writeTaken(this.spec, request.value);
    const finish = (outcome: BlockReply) => {
      this.#pending.delete(pending);
      session.pending -= 1;
      if (request.kind === 'write') {
        this.#checker.writeEnded(this.machine, this.spec, request, outcome.ok);
      }
      reply(outcome);
      this.#settle(name, session);
      if (this.#pending.size === 0) for (const next of this.#whenIdle.splice(0)) next();
    };
    if (request.kind === 'read') this.#read(this.#readOrder(), request.block, finish);
    else if (request.kind === 'flush') this.#toMembers(pending, finish);
    else this.#inTurn(pending, finish);
  }

  /**
   * Writes of one block that are under way at once would reach the members in any order; no guest
   * may count on that, and these do one after another.
   */
  #inTurn(pending: Pending, finish: ReplyTo): void {
    const { block } = pending.request;
    const before = this.#turns.get(block);
    const turn: (() => void)[] = [];
    this.#turns.set(block, turn);
    const begin = () => {
      this.#toMembers(pending, (outcome) => {
        finish(outcome);
        if (this.#turns.get(block) === turn) this.#turns.delete(block);
        for (const next of turn) next();
      });
    };
    if (before === undefined) begin();
    else before.push(begin);
  }

  /**
   * As at the end of QEMU: waits for everything under way, also for exports that are being removed,
   * then flushes every member; calls back when all have answered.
   */
  drain(done: () => void): void {
    if (this.#pending.size > 0) {
      this.#whenIdle.push(() => this.drain(done));
      return;
    }
    const request: BlockRequest = { kind: 'flush', block: 0, value: 0 };
    this.#toMembers({ session: '', request, local: 'none' }, done);
  }

  protected override ended(): void {
    for (const pending of this.#pending) {
      const { request, local } = pending;
      if (request.kind !== 'write') continue;
      this.#checker.writeDropped(this.spec.volume, request.value);
      // What it had handed to the kernel may be done or not.
      if (!this.machine.powered || local !== 'queued' || this.core.random.chance(0.5)) continue;
      for (const member of this.#members) {
        if ('copy' in member) this.#host.disk.put(member.copy, request.block, request.value);
      }
    }
    this.#pending.clear();
  }

  /** The members of the open layer count as one place, the first that answers. */
  #readOrder(): Place[] {
    return [...this.#members.slice(0, 1), ...this.#sealed];
  }

  #read(places: Place[], block: number, finish: (reply: BlockReply) => void): void {
    const place = places.shift();
    if (place === undefined) {
      finish({ ok: true, value: 0 });
      return;
    }
    const seen = (value: number) => {
      if (value === 0) this.#read(places, block, finish);
      else finish({ ok: true, value });
    };
    if ('copy' in place) {
      const ms = places.length > 2 ? 0.1 : this.#host.disk.accessMs();
      this.after(ms, () => seen(place.copy.cached[block] ?? 0));
      return;
    }
    place.link.request({ kind: 'read', block, value: 0 }, (reply) => {
      if (reply.ok) seen(reply.value);
      else finish(reply);
    });
  }

  /** A write or a flush is done when every member has answered; an error of one fails it. */
  #toMembers(pending: Pending, finish: (reply: BlockReply) => void): void {
    let left = this.#members.length;
    let error: string | null = null;
    const answered = (node: string | null, reply: BlockReply) => {
      left -= 1;
      if (!reply.ok) {
        error = reply.error;
        this.#memberError(node, reply.error);
      }
      if (left === 0) finish(error === null ? { ok: true, value: 0 } : { ok: false, error });
    };
    for (const member of this.#members) {
      if ('copy' in member) this.#toFile(member.copy, pending, (reply) => answered(null, reply));
      else member.link.request(pending.request, (reply) => answered(member.peer, reply));
    }
  }

  #toFile(copy: Copy, pending: Pending, done: (reply: BlockReply) => void): void {
    const { disk } = this.#host;
    const { kind, block, value } = pending.request;
    pending.local = 'queued';
    this.after(disk.accessMs(), () => {
      if (kind === 'write') {
        if (disk.fails() || (disk.full && copy.cached[block] === 0)) {
          pending.local = 'done';
          return done({ ok: false, error: 'EIO' });
        }
        disk.put(copy, block, value);
        pending.local = 'done';
      }
      this.after(disk.accessMs(), () => {
        if (kind === 'write') disk.flushWrite(copy, block);
        else disk.flush(copy);
        done({ ok: true, value: 0 });
      });
    });
  }

  #memberError(node: string | null, error: string): void {
    const fault = { kind: 'member-error' as const, node, error };
    this.note(`${node ?? 'the local file'} answers ${error}`);
    // A graph without peers has no quorum, so nothing tells of the error but the guest's request.
    if (this.#members.length < 2) return;
    this.faults.push(fault);
    if (node !== null) this.#checker.peerError(this.spec.open.layer.layer);
    this.onMemberError(fault);
  }

  #settle(name: string, session: Session): void {
    if (!session.removing || session.pending > 0) return;
    this.#sessions.delete(name);
    for (const settled of session.whenSettled.splice(0)) settled();
  }
}
