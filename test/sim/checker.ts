import type { HeadSpec, LayerKey } from '../../src/engine/engine.ts';
import type { Volume } from '../../src/volume/types.ts';
import { BlockHistory } from './checker-blocks.ts';
import { checkFinal } from './checker-final.ts';
import { Groups } from './checker-groups.ts';
import { type Checks, type Known, short } from './checker-known.ts';
import { checkRecord } from './checker-record.ts';
import { checkSharing, checkSources } from './checker-sharing.ts';
import { checkTakeOver } from './checker-take-over.ts';
import { type Core, type Machine, Violation } from './core.ts';
import type { Copy, Disk } from './disk.ts';
import { blockCount, blocksOf, rotten } from './disk.ts';
import type { BlockRequest } from './engine-connection.ts';
import { frozenAt } from './engine-process.ts';

/**
 * After a whole machine stood still, its heads may answer reads until its watchdog has looked
 * (every 0.2 s): nothing that lives on the machine can prevent that.
 */
const thawGraceMs = 250;

export type BegunRead = {
  volume: string;
  block: number;
  floor: number;
  begun: number;
  generation: number;
};

/** What was acknowledged in each block when a copy of a volume was asked for. */
export type AskedPoint = { volume: string; floors: number[]; generation: number };

/** Holds every step of a history against the promises. Its first violation ends the history. */
export class Checker implements Checks {
  /** Set by `createProcesses`. */
  disks: Disk[] = [];
  /** Set by `createProcesses`: whether a head that lives serves the session. */
  headServes: (volume: string, session: string) => boolean = () => false;
  /** Called after every step of a record, when it was checked. */
  onStep: (next: Volume) => void = () => undefined;
  /** The boot that a node has a lease for by the store; set by the world. */
  leaseBoot: (node: string) => string | undefined = () => undefined;
  /** Set by `createProcesses`: the heads that live. */
  heads: () => { machine: Machine; spec: HeadSpec }[] = () => [];
  readonly #core: Core;
  readonly #volumes = new Map<string, Known>();
  readonly #rotten = new Set<string>();
  /** When a member of a layer first answered an error, by layer. */
  readonly #failed = new Map<string, number>();
  readonly groups = new Groups(this);
  readonly files = new Map<string, readonly number[]>();
  readonly backups = new Map<string, readonly number[]>();
  #newest = 0;
  /** What was checked; a history that checks nothing proves nothing. */
  readonly counts = {
    reads: 0,
    writes: 0,
    sealed: 0,
    records: 0,
    excused: 0,
    reverts: 0,
    points: 0,
    imports: 0,
    groups: 0,
    backups: 0,
    fscks: 0,
  };

  constructor(core: Core) {
    this.#core = core;
  }

  fail(text: string): never {
    this.#core.trace.note('checker', text);
    throw new Violation(text);
  }

  now(): number {
    return this.#core.scheduler.now();
  }

  known(id: string): Known {
    const present = this.#volumes.get(id);
    if (present !== undefined) return present;
    const fresh: Known = {
      id,
      record: null,
      history: new BlockHistory(),
      sealed: new Map(),
      opened: new Set(),
      detached: new Set(),
      below: [],
      snapshots: new Map(),
      servedEpoch: 0,
    };
    this.#volumes.set(id, fresh);
    return fresh;
  }

  record(id: string): Volume | undefined {
    return this.#volumes.get(id)?.record ?? undefined;
  }

  records(): Volume[] {
    return [...this.#volumes.values()].flatMap((v) => v.record ?? []);
  }

  diskOf(node: string): Disk | undefined {
    return this.disks.find((d) => d.machine.name === node);
  }

  isSealed(layer: string): boolean {
    return [...this.#volumes.values()].some((v) => v.sealed.has(layer));
  }

  isRotten(node: string, layer: string): boolean {
    return this.#rotten.has(`${node}/${layer}`);
  }

  rotted(machine: Machine, layer: string): void {
    this.#rotten.add(`${machine.name}/${layer}`);
  }

  // What consumers do.

  /** A consumer issues a write. @returns its number, which is what the block will hold. */
  issue(volume: string, block: number, session: string): number {
    const { history, record } = this.known(volume);
    const attached = new Set(record?.attachments.map((a) => a.session));
    history.endAbandoned(this.#newest, (s) => attached.has(s) || this.headServes(volume, s));
    this.#newest += 1;
    history.issue(this.#newest, block, session);
    return this.#newest;
  }

  acknowledged(volume: string, value: number): void {
    this.counts.writes += 1;
    this.known(volume).history.acknowledge(value, this.#newest);
  }

  /** The consumer of an unanswered write is gone and repeats it no more. */
  abandoned(volume: string, value: number): void {
    this.known(volume).history.abandon(value);
  }

  readBegun(volume: string, block: number, _machine: Machine): BegunRead {
    const { history } = this.known(volume);
    const floor = history.floor(block);
    const begun = this.#core.scheduler.now();
    return { volume, block, floor, begun, generation: history.generation };
  }

  readEnded({ volume, block, floor, begun, generation }: BegunRead, value: number): void {
    if (value === rotten) return;
    const { history } = this.known(volume);
    // A guest that is gone read what the volume was before it was reverted.
    if (history.generation !== generation) return;
    const wrong = history.wrong(block, value, floor);
    const thawed = Math.max(...this.disks.map((d) => frozenAt(d.machine)));
    if (wrong !== null && thawed + thawGraceMs > begun) {
      this.counts.excused += 1;
      return;
    }
    if (wrong !== null) this.fail(`a read of block ${block} of ${short(volume)} returned ${wrong}`);
    this.counts.reads += 1;
    history.seen(value);
  }

  /** A user has a file, with something in each of some blocks. @returns its checksum */
  file(blocks: number): string {
    const { random } = this.#core;
    const sha256 = random.hex(64);
    const content = Array.from({ length: blocks }, () => (random.chance(0.6) ? ++this.#newest : 0));
    this.files.set(sha256, content);
    return sha256;
  }

  /** Somebody asks for a snapshot or a clone: it shows all that was acknowledged before. */
  pointAsked(volume: string): AskedPoint {
    const { history } = this.known(volume);
    const floors = Array.from({ length: blockCount }, (_, block) => history.floor(block));
    return { volume, floors, generation: history.generation };
  }

  /** It was answered: this is what it shows, for ever. */
  pointGiven({ volume, floors, generation }: AskedPoint, content: readonly number[]): void {
    const { history } = this.known(volume);
    if (history.generation !== generation) return;
    for (const [block, floor] of floors.entries()) {
      const wrong = history.wrong(block, content[block] ?? 0, floor);
      if (wrong !== null) this.fail(`a copy of ${short(volume)} shows ${wrong} in block ${block}`);
    }
    this.counts.points += 1;
  }

  /** The daemon has answered that a session is detached: nothing of it may land any more. */
  detached(volume: string, session: string): void {
    this.known(volume).detached.add(session);
  }

  // What heads and disks do.

  headStarted(machine: Machine, spec: HeadSpec): void {
    const { volume, open, sealed, sizeBytes } = spec;
    const known = this.known(volume);
    for (const node of [machine.name, ...open.peers.map((p) => p.node)]) {
      const copy = this.diskOf(node)?.copies.get(open.layer.layer);
      if (copy === undefined || copy.blocks === blocksOf(sizeBytes)) continue;
      this.fail(
        `a head of ${blocksOf(sizeBytes)} blocks writes to ${copy.blocks} on ${node} (rule 14)`,
      );
    }
    const { opened } = known;
    for (const { layer, peers, fromBackup } of sealed) {
      if (fromBackup === true) continue;
      const node = peers[0]?.node ?? machine.name;
      const content = this.known(layer.volume).sealed.get(layer.layer);
      const held = this.diskOf(node)?.copies.get(layer.layer)?.cached;
      if (content === undefined || this.isRotten(node, layer.layer)) continue;
      if (held?.join() !== content.join()) {
        this.fail(
          `a head reads layer ${layer.epoch} on ${node}: ${held?.join()}, not ${content.join()}`,
        );
      }
    }
    checkSources(this, known, spec);
    if (opened.has(open.layer.layer)) {
      this.fail(
        `layer ${open.layer.epoch} of ${short(volume)} is opened by a second head (rule 17)`,
      );
    }
    opened.add(open.layer.layer);
    this.groups.headStarted(volume, this.now());
  }

  /** It lives no longer. */
  headEnded({ open }: HeadSpec): void {
    this.groups.headEnded(open.layer.layer, this.now());
  }

  writeTaken({ volume }: HeadSpec, value: number): void {
    const write = this.known(volume).history.write(value);
    if (write !== undefined) write.underWay += 1;
  }

  writeDropped(volume: string, value: number): void {
    const write = this.known(volume).history.write(value);
    if (write !== undefined) write.underWay -= 1;
  }

  /** A head has answered a write. */
  writeEnded(machine: Machine, spec: HeadSpec, request: BlockRequest, ok: boolean): void {
    this.writeDropped(spec.volume, request.value);
    if (!ok) return;
    const known = this.known(spec.volume);
    const { epoch, layer } = spec.open.layer;
    if (epoch >= known.servedEpoch) {
      known.servedEpoch = epoch;
      return;
    }
    // Harmless when the write was in the old layer before that was sealed.
    const held = Math.abs(known.sealed.get(layer)?.[request.block] ?? 0);
    if (held >= request.value) return;
    this.fail(
      `the head of epoch ${epoch} on ${machine.name} completes write ${request.value} after epoch ${known.servedEpoch} has served`,
    );
  }

  /** A member other than the head's own node has answered an error. */
  peerError(layer: string): void {
    if (!this.#failed.has(layer)) this.#failed.set(layer, this.#core.scheduler.now());
  }

  /** Since when; Infinity when none has. */
  memberFailedAt(layer: string): number {
    return this.#failed.get(layer) ?? Infinity;
  }

  /** A block of a layer file is about to be written. */
  wrote(machine: Machine, copy: Copy, block: number, value: number): void {
    const { volume, layer, epoch } = copy.key;
    const known = this.known(volume);
    const sealed = known.record?.chain.find((l) => l.id === layer);
    const mine = sealed?.replicas.find((r) => r.node === machine.name);
    if (
      mine?.state === 'clean' &&
      copy.cached[block] !== value &&
      !this.isRotten(machine.name, layer)
    ) {
      this.fail(
        `block ${block} of the clean copy of layer ${epoch} on ${machine.name} changes from ${copy.cached[block]} to ${value} (rule 4)`,
      );
    }
    const session = known.history.write(value)?.session;
    const tail = known.record?.tail;
    const open = tail?.phase === 'open' && tail.layer.id === layer;
    if (open && session !== undefined && known.detached.has(session)) {
      this.fail(
        `write ${value} of a session whose detach was answered lands in epoch ${epoch} (rule 15)`,
      );
    }
  }

  /** A layer file is about to be removed. */
  removed(machine: Machine, { layer, epoch, volume }: LayerKey): void {
    const record = this.known(volume).record;
    if (record === null) return;
    const { tail, chain } = record;
    const isGone = tail.phase === 'deleting';
    const read = this.heads().some(({ machine: host, spec }) => {
      // Whoever still reads what was deleted gets errors, and nobody uses it.
      if (isGone && spec.volume === volume) return false;
      const now = this.record(spec.volume)?.tail;
      if (now?.phase !== 'open' || spec.open.layer.layer !== now.layer.id) return false;
      // What it has open itself stays its own, also when another record deletes the file.
      const mine = spec.volume === volume ? host.name : undefined;
      return spec.sealed.some(
        (s) =>
          s.layer.layer === layer &&
          s.fromBackup !== true &&
          (s.peers[0]?.node ?? mine) === machine.name,
      );
    });
    if (read) this.fail(`${machine.name} deletes layer ${epoch} under the head that reads it`);
    if (isGone) return;
    const replica = chain
      .find((l) => l.id === layer)
      ?.replicas.find((r) => r.node === machine.name);
    if (replica !== undefined && replica.state !== 'copying') {
      this.fail(`${machine.name} deletes its ${replica.state} copy of layer ${epoch} (rule 7)`);
    }
    const unsealed =
      tail.phase === 'open'
        ? [tail.layer]
        : tail.phase === 'fencing'
          ? [tail.unsealed]
          : tail.phase === 'opening'
            ? [tail.next, ...(tail.closing === null ? [] : [tail.closing])]
            : [];
    if (unsealed.some((l) => l.id === layer && l.members.some((m) => m.node === machine.name))) {
      this.fail(`${machine.name} deletes its file of epoch ${epoch}, which is not sealed`);
    }
  }

  // What the store does.

  /** A record was created, swapped or removed. */
  onRecord(previous: Volume | null | undefined, next: Volume | null | undefined): void {
    const id = next?.id ?? previous?.id;
    if (id === undefined) return;
    const known = this.known(id);
    known.record = next ?? null;
    this.counts.records += 1;
    if (next == null) {
      checkSharing(this, null);
      return;
    }
    checkRecord(this, known, previous ?? null, next);
    if (previous != null) checkTakeOver(this, previous, next);
    checkSharing(this, previous === null ? next : null);
    this.onStep(next);
  }

  /** At the end of a history, when everything is up, quiet and healed. */
  final(volumes: readonly Volume[], names: ReadonlyMap<string, string>): void {
    checkFinal(this, volumes, names);
  }
}
