/**
 * A small world for the protocol: nodes that crash and reboot, what their disks hold, heads that
 * write, and one record that changes only by compare-and-swap. Layers hold a number for each of a
 * few blocks: the number of the write, 0 where the layer has nothing.
 */
import { isHyperscaleError } from '../../../src/errors.ts';
import { createVolume } from '../../../src/volume/create.ts';
import type { Fenced } from '../../../src/volume/fence.ts';
import { placeMembers } from '../../../src/volume/placement.ts';
import { replicaOn, unsealedLayer } from '../../../src/volume/queries.ts';
import type {
  Member,
  NodeName,
  NodeView,
  Policy,
  UnsealedLayer,
  Volume,
} from '../../../src/volume/types.ts';
import { deepFreeze, node as nodeView } from './fixtures.ts';
import { checkChange, learnSealed } from './world-checks.ts';
import {
  blockBytes,
  blockCount,
  emptyCopy,
  type Fault,
  type Head,
  type WorldNode,
  type Write,
} from './world-types.ts';

export class World {
  readonly nodes: WorldNode[];
  readonly heads: Head[] = [];
  /** The newest acknowledged write of each block. */
  readonly acknowledged: number[] = new Array(blockCount).fill(0);
  /** What each layer holds since it was sealed, for ever. */
  readonly sealed = new Map<string, number[]>();
  readonly epochs = new Map<string, number>();
  /** Copies that lost acknowledged writes in a power cut, as `node/layer`. */
  readonly lossy = new Set<string>();
  /** Swaps that were sent by an agent that has died since, with the record they were made for. */
  readonly sent: { expected: Volume; next: Volume }[] = [];
  readonly faults: ReadonlySet<Fault>;
  /** How often each thing happened; a test sees by this that it tests something. */
  readonly counts: Record<string, number> = {};
  record: Volume;
  /** The random number of the present step, for what lies within an agent's step. */
  dice = 0;
  #ids = 0;
  #writes = 0;

  constructor(size: number, policy: Policy, faults: readonly Fault[] = []) {
    this.faults = new Set(faults);
    this.nodes = Array.from({ length: size }, (_, i) => ({
      name: `n${i + 1}`,
      pool: `pool-n${i + 1}`,
      boot: 'boot-1',
      up: true,
      fence: 0,
      disk: new Map(),
      burnt: new Set(),
      duty: null,
      background: null,
      proxy: null,
      gateways: new Set(),
    }));
    this.record = deepFreeze(
      createVolume({ id: 'v', name: 'disk', sizeBytes: 2 * blockBytes, policy, createdAt: '' }),
    );
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  newId(prefix: string): string {
    this.#ids += 1;
    return `${prefix}${this.#ids}`;
  }

  node(name: NodeName): WorldNode {
    const found = this.nodes.find((n) => n.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  views(): NodeView[] {
    return this.nodes.map(({ name, up, boot }) => nodeView(name, { up, boot }));
  }

  self({ name, pool, boot }: WorldNode): { node: NodeName; pool: string; boot: string } {
    return { node: name, pool, boot };
  }

  /** A compare-and-swap on the newest record; null when the transition does not fit it. */
  change(apply: (volume: Volume) => Volume): Volume | null {
    let next: Volume;
    try {
      next = apply(this.record);
    } catch (error) {
      if (!isHyperscaleError(error, 'conflict', 'unavailable', 'in-use')) throw error;
      this.count('refused');
      return null;
    }
    return next === this.record ? next : this.#commit(next);
  }

  /** A swap that was made for `expected` arrives now. */
  deliver(expected: Volume, next: Volume): void {
    const fits = expected === this.record || this.faults.has('swaps-blindly');
    this.count(fits ? 'late swap won' : 'late swap lost');
    if (fits) this.#commit(next);
  }

  #commit(next: Volume): Volume {
    const before = this.record;
    const after = deepFreeze({ ...next, operation: this.newId('op') });
    checkChange(before, after);
    this.record = after;
    this.count(after.tail.phase === before.tail.phase ? 'changed' : after.tail.phase);
    learnSealed(this, before);
    return after;
  }

  headOn(node: NodeName): Head | undefined {
    return this.heads.find((h) => h.alive && h.node === node);
  }

  kill(head: Head): void {
    head.alive = false;
    this.count('head killed');
  }

  /** True when a member still takes writes of a layer. */
  accepts({ node: name, boot }: Member, layer: { id: string; epoch: number }): boolean {
    const node = this.node(name);
    return node.up && node.boot === boot && node.fence <= layer.epoch && node.disk.has(layer.id);
  }

  /** True when this head could complete a write now. */
  canAcknowledge(head: Head): boolean {
    return head.alive && head.layer.members.every((m) => this.accepts(m, head.layer));
  }

  issue(head: Head, block: number): void {
    this.#writes += 1;
    head.writes.push({ block, number: this.#writes, reached: new Set(), acknowledged: false });
  }

  /** A write reaches one member; what a dead head had sent may still do so. */
  reach(head: Head, write: Write, target: Member): boolean {
    const local = target.node === head.node;
    if (local ? !head.alive : !this.accepts(target, head.layer)) return false;
    const copy = this.node(target.node).disk.get(head.layer.id);
    if (copy === undefined || write.reached.has(target.node)) return false;
    copy.cached[write.block] = Math.max(copy.cached[write.block] ?? 0, write.number);
    write.reached.add(target.node);
    return true;
  }

  acknowledge(head: Head, write: Write): boolean {
    const needed = this.faults.has('acknowledges-early') ? 1 : head.layer.members.length;
    if (!head.alive || write.acknowledged || write.reached.size < needed) return false;
    write.acknowledged = true;
    const newest = this.acknowledged[write.block] ?? 0;
    this.acknowledged[write.block] = Math.max(newest, write.number);
    this.count('acknowledged');
    return true;
  }

  /** Ends a head in good order: what reached anybody reaches all, all is flushed. */
  stop(head: Head): boolean {
    if (!head.alive) return false;
    if (!this.canAcknowledge(head)) return this.faults.has('calls-a-kill-graceful');
    for (const write of head.writes.filter((w) => w.reached.size > 0)) {
      for (const target of head.layer.members) this.reach(head, write, target);
      this.acknowledge(head, write);
    }
    for (const { node } of head.layer.members) this.sync(node, head.layer.id);
    head.alive = false;
    head.writes.length = 0;
    this.count('head stopped');
    return true;
  }

  sync(node: NodeName, layer: string): void {
    const copy = this.node(node).disk.get(layer);
    if (copy !== undefined) copy.stable = [...copy.cached];
  }

  /** As an agent fences its own node: durable refusal, no older head, everything flushed. */
  fence(node: WorldNode, epoch: number): Fenced & { layers: string[] } {
    node.fence = Math.max(node.fence, epoch);
    for (const head of this.heads) {
      if (head.node === node.name && head.alive && head.layer.epoch < epoch) this.kill(head);
    }
    for (const layer of node.disk.keys()) {
      if ((this.epochs.get(layer) ?? 0) < epoch) this.sync(node.name, layer);
    }
    const layers = [...node.disk.keys()];
    return { node: node.name, pool: node.pool, boot: node.boot, holds: false, layers };
  }

  /** A peer makes the container of a layer that the record says is being opened. */
  prepareLayer({ node: name, boot }: Member, layer: UnsealedLayer): boolean {
    const node = this.node(name);
    const { tail } = this.record;
    if (tail.phase !== 'opening' || tail.next.id !== layer.id) return false;
    if (!node.up || node.boot !== boot || layer.epoch < node.fence) return false;
    this.makeLayer(node, layer);
    return true;
  }

  makeLayer(node: WorldNode, layer: { id: string; epoch: number }): void {
    this.epochs.set(layer.id, layer.epoch);
    if (!node.disk.has(layer.id)) node.disk.set(layer.id, emptyCopy());
  }

  /** Starts the head of an open layer as the record had it; false when something forbids it. */
  serve(node: WorldNode, volume: Volume): boolean {
    const { tail } = volume;
    if (tail.phase !== 'open' || tail.layer.writer !== node.name) return false;
    const { layer } = tail;
    if (node.fence > layer.epoch && !this.faults.has('serves-behind-a-fence')) return false;
    const sources: Head['sources'] = [];
    for (const { id, replicas } of volume.chain) {
      const clean = replicas.filter((r) => r.state === 'clean').map((r) => r.node);
      const from = clean.includes(node.name)
        ? node.name
        : clean.find((n) => this.node(n).up && this.holdsClean(n, id));
      if (from === undefined || !this.node(from).disk.has(id)) return false;
      sources.push({ layer: id, from });
    }
    node.burnt.add(layer.id);
    const sessions = volume.attachments.map((a) => a.session);
    this.heads.push({ node: node.name, layer, alive: true, sources, sessions, writes: [] });
    node.proxy = null;
    this.count('head started');
    return true;
  }

  /** Only a clean copy, as the newest record has it, is shown to other nodes. */
  holdsClean(node: NodeName, layer: string): boolean {
    const { chain, merge } = this.record;
    const holder = chain.find((l) => l.id === layer) ?? (merge?.into === layer ? merge : undefined);
    return holder !== undefined && replicaOn(holder, node)?.state === 'clean';
  }

  /** Power cut: heads and agents of the node are gone; unsynced writes too, when `loses`. */
  crash(node: WorldNode, loses: boolean): boolean {
    const layer = unsealedLayer(this.record);
    const others = layer?.members.filter((m) => m.node !== node.name) ?? [];
    const mine = layer?.members.some((m) => m.node === node.name) === true;
    const spared = others.some((m) => this.node(m.node).boot === m.boot && !this.#lost(m, layer));
    const anyLost = others.some((m) => this.#lost(m, layer));
    // Of the members of an open layer, one at least has a disk that keeps its word.
    if (mine && !spared && (anyLost || loses)) return false;
    node.up = false;
    node.boot = `boot-${Number(node.boot.slice('boot-'.length)) + 1}`;
    this.endAgent(node);
    for (const head of this.heads) if (head.node === node.name && head.alive) this.kill(head);
    node.proxy = null;
    node.gateways.clear();
    for (const [id, copy] of node.disk) {
      if (!loses) copy.stable = [...copy.cached];
      else if (copy.stable.join() !== copy.cached.join()) {
        copy.cached = [...copy.stable];
        this.lossy.add(`${node.name}/${id}`);
        this.count('cache lost');
      }
    }
    this.count('crashed');
    return true;
  }

  #lost({ node }: Member, layer: { id: string } | null): boolean {
    return layer !== null && this.lossy.has(`${node}/${layer.id}`);
  }

  /** The daemon is gone; a swap it had sent may still arrive. */
  endAgent(node: WorldNode): void {
    for (const task of [node.duty, node.background]) {
      if (task === null || task.wait === 'moment') continue;
      try {
        const next = task.wait.apply(this.record);
        if (next !== this.record) this.sent.push({ expected: this.record, next });
      } catch (error) {
        if (!isHyperscaleError(error)) throw error;
      }
    }
    node.duty = null;
    node.background = null;
  }

  /** The write set that placement would choose. */
  place(node: WorldNode): Member[] {
    return placeMembers(this.record, node.name, this.views(), new Set());
  }
}
