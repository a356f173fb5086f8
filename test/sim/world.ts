import { isNameless } from '../../src/volume/delete.ts';
import { clonesOf, snapshotsOf } from '../../src/volume/marks.ts';
import type { Labels, NodeLease, NodeView, Policy, Volume } from '../../src/volume/types.ts';
import { SimRepository } from './backups.ts';
import type { Checker } from './checker.ts';
import type { Core, Machine } from './core.ts';
import { SimNetwork } from './network.ts';
import { Node } from './node.ts';
import type { NodeWorld } from './node-world.ts';
import { createProcesses } from './processes.ts';
import { EtcdServer } from './store-server.ts';
import type { Theme } from './themes.ts';
import { Watchdogs } from './watchdog.ts';

const volumesPrefix = '/hyperscale/volumes/';
const namesPrefix = '/hyperscale/names/';
const leasesPrefix = '/hyperscale/leases/';

/** Counts of what happened, so that one sees that a history tested something. */
export type Counts = Record<string, number>;

/** The whole simulated cluster. */
export class World implements NodeWorld {
  readonly core: Core;
  readonly checker: Checker;
  readonly machines: Machine[];
  readonly network: SimNetwork;
  readonly etcd: EtcdServer;
  readonly processes: NodeWorld['processes'];
  readonly nodes: Node[];
  readonly counts: Counts = {};
  /** Whose each name is in etcd. */
  readonly names = new Map<string, string>();
  /** The boot that each node's lease in etcd says. */
  readonly #leases = new Map<string, string>();
  readonly repairDelayMs: number;
  /** Daemons read their copies again and again. */
  readonly scrubs: boolean;
  readonly labels: ReadonlyMap<string, Labels>;
  /** Who has guests that die with their machine. */
  readonly guests: { machineDied(machine: string): void }[] = [];
  duplicates = 0;
  /** Users make snapshots and clones. */
  shares = false;
  /** What users do most. */
  theme: Theme | null = null;
  /** Nodes that hear of changes late all the time; users ask them often. */
  late: readonly Node[] = [];
  /** Volumes that somebody asked to revert, and of which the answer did not come. */
  readonly reverting = new Set<string>();
  /** Called when somebody has made a clone. */
  onClone: (name: string, id: string) => void = () => undefined;
  /** What lies on each backup target. */
  readonly targets: ReadonlyMap<string, SimRepository>;
  readonly #byName: Map<string, Node>;
  /** Which nodes have each target in their configuration. */
  readonly #targetsOf: ReadonlyMap<string, readonly string[]>;
  readonly #newest = new Map<string, Volume>();

  constructor(
    core: Core,
    machines: Machine[],
    checker: Checker,
    labels: ReadonlyMap<string, Labels> = new Map(),
    targets: ReadonlyMap<string, readonly string[]> = new Map(),
  ) {
    this.core = core;
    this.labels = labels;
    this.checker = checker;
    checker.leaseBoot = (node) => this.#leases.get(node);
    this.#targetsOf = targets;
    this.targets = new Map([...targets.keys()].map((name) => [name, new SimRepository()]));
    this.machines = machines;
    this.repairDelayMs = core.random.pick([2_000, 6_000, 30_000]);
    this.scrubs = core.random.chance(0.3);
    this.network = new SimNetwork(core.random, core.scheduler);
    this.etcd = new EtcdServer(core, (key, before, after) => this.#committed(key, before, after));
    this.processes = createProcesses(core, this.network, machines, checker);
    this.nodes = machines.map((machine) => new Node(this, machine));
    this.#byName = new Map(this.nodes.map((node) => [node.machine.name, node]));
  }

  /** Starts the daemons and watchdogs. */
  start(): void {
    for (const node of this.nodes) node.startDaemon();
    new Watchdogs(this, this.machines).start();
  }

  node(name: string): Node {
    const node = this.#byName.get(name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }

  /** Cuts the power of a machine, and with it that of its guests. */
  powerCut(node: Node): void {
    node.powerCut();
    for (const guests of this.guests) guests.machineDied(node.machine.name);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Volumes as etcd has them now. */
  volumes(): Volume[] {
    return [...this.#newest.values()];
  }

  volume(id: string): Volume | undefined {
    return this.#newest.get(`${volumesPrefix}${id}`);
  }

  knowsTarget(node: string, target: string): boolean {
    return this.#targetsOf.get(target)?.includes(node) === true;
  }

  /** The volume that has this name. */
  named(name: string): Volume | undefined {
    return this.volumes().find((v) => v.name === name && !isNameless(v));
  }

  /** Nodes as some daemon that answers sees them; empty when none does. */
  nodeViews(): NodeView[] {
    return this.nodes.find((n) => n.service !== null)?.service?.nodes() ?? [];
  }

  #committed(key: string, before: string | null, after: string | null): void {
    if (key.startsWith(namesPrefix)) {
      const name = key.slice(namesPrefix.length);
      if (after === null) this.names.delete(name);
      else this.names.set(name, after);
    }
    if (key.startsWith(leasesPrefix)) {
      const node = key.slice(leasesPrefix.length);
      if (after === null) this.#leases.delete(node);
      else this.#leases.set(node, (JSON.parse(after) as NodeLease).boot);
    }
    if (!key.startsWith(volumesPrefix)) return;
    const previous = before === null ? null : (this.#newest.get(key) ?? parse(before));
    const next = after === null ? null : parse(after);
    if (next === null) this.#newest.delete(key);
    else this.#newest.set(key, next);
    this.core.trace.note('etcd', `${key.slice(volumesPrefix.length, -28)} ${line(next)}`);
    if (next !== null && next.tail.phase !== previous?.tail.phase) {
      this.count(`phase ${next.tail.phase}`);
    }
    this.checker.onRecord(previous, next);
  }
}

function parse(text: string): Volume {
  return JSON.parse(text) as Volume;
}

/** A record on one line of a trace. */
function line(volume: Volume | null): string {
  if (volume === null) return 'is removed';
  const { tail, chain, attachments, garbage, merge } = volume;
  const letter = { clean: '', unverified: '?', copying: '+' };
  const layers = chain.map(
    (l) =>
      `${l.epoch}${l.manifest === null ? '' : '='}(${l.replicas
        .map((r) => r.node + letter[r.state])
        .join(' ')})`,
  );
  const members = (l: { epoch: number; members: { node: string }[] } | null) =>
    l === null ? '-' : `${l.epoch}[${l.members.map((m) => m.node).join(' ')}]`;
  const what =
    tail.phase === 'open'
      ? `open ${members(tail.layer)}`
      : tail.phase === 'opening'
        ? `opening ${members(tail.next)} closing ${members(tail.closing)} (${tail.reason})`
        : tail.phase === 'fencing'
          ? `fencing ${members(tail.unsealed)} by ${tail.taker}`
          : tail.phase;
  const on = attachments.map((a) => a.host).join(' ');
  const place = (id: string | null) => chain.find((l) => l.id === id)?.epoch ?? '-';
  const marks = [
    ...(volume.role === undefined ? [] : [volume.role]),
    ...(volume.parent ? [`from ${volume.parent.volume.slice(0, 8)}`] : []),
    ...(volume.leaving ? [`leaving ${volume.leaving.volume.slice(0, 8)}`] : []),
    ...(volume.flatten ? [`flatten on ${volume.flatten}`] : []),
    ...snapshotsOf(volume).map((s) => `snapshot ${s.name}@${place(s.layer)}`),
    ...clonesOf(volume).map((c) => `clone ${c.volume.slice(0, 8)}@${place(c.layer)}`),
  ].map((text) => `; ${text}`);
  const rest = `${marks.join('')}${merge === null ? '' : ` merging into ${merge.into.slice(0, 4)} on ${merge.builder}`}${
    garbage.length === 0
      ? ''
      : ` garbage ${garbage.map((g) => `${g.epoch}(${g.holders.map((h) => h.node).join(' ')})`).join(' ')}`
  }`;
  return `#${volume.epoch} ${what}; ${layers.join(' ')}; attached ${on || '-'}${rest}`;
}

/** Policies of simulated volumes: short chains, so that merges happen. */
export function simPolicy(core: Core): Policy {
  const reflections = core.random.pick([0, 1, 1, 2, 2] as const);
  return {
    name: `sim${reflections}`,
    reflections,
    maxIops: 10_000,
    // With two, the roll that lets go of merged layers would make the chain too long again.
    maxLayers: core.random.int(3, 6),
  };
}
