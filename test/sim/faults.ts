import { copiesWanted } from '../../src/volume/policy.ts';
import { cleanReplicas } from '../../src/volume/queries.ts';
import type { Machine } from './core.ts';
import { etcdPlace } from './network.ts';
import type { Node } from './node.ts';
import type { Victim } from './processes.ts';
import type { World } from './world.ts';

/** What undoes a fault. */
type Undo = () => void;

/** One kind of fault: begins one, and returns how it ends; undefined when there was nothing to hit. */
type Fault = (world: World) => Undo | undefined;

const nothing: Undo = () => undefined;

function someMachine(world: World, fits: (node: Node) => boolean = () => true): Node | undefined {
  const nodes = world.nodes.filter((n) => n.machine.powered && fits(n));
  return nodes.length === 0 ? undefined : world.core.random.pick(nodes);
}

function kill(list: (world: World) => Victim[]): Fault {
  return (world) => {
    const victims = list(world);
    if (victims.length === 0) return undefined;
    world.core.random.pick(victims).kill();
    return nothing;
  };
}

function freeze(list: (world: World) => Victim[]): Fault {
  return (world) => {
    const victims = list(world);
    if (victims.length === 0) return undefined;
    const victim = world.core.random.pick(victims);
    victim.freeze();
    return () => victim.thaw();
  };
}

function powerCut(choose: (world: World) => Node[]): Fault {
  return (world) => {
    const nodes = choose(world).filter((n) => n.machine.powered);
    if (nodes.length === 0) return undefined;
    for (const node of nodes) world.powerCut(node);
    return () => {
      const { scheduler, random } = world.core;
      for (const node of nodes) scheduler.after(random.int(0, 3_000), () => node.boot());
    };
  };
}

/** Cuts directions of links, and heals just those. */
function cut(choose: (world: World) => [string, string][]): Fault {
  return (world) => {
    const links = choose(world).filter(([a, b]) => world.network.reachable(a, b));
    for (const [from, to] of links) world.network.cut(from, to);
    world.core.trace.note('network', `cut ${links.map((l) => l.join('>')).join(' ')}`);
    return () => {
      for (const [from, to] of links) world.network.heal(from, to);
      world.core.trace.note('network', `healed ${links.map((l) => l.join('>')).join(' ')}`);
    };
  };
}

function both(a: string, b: string): [string, string][] {
  return [
    [a, b],
    [b, a],
  ];
}

function machineName(world: World): string {
  return world.core.random.pick(world.machines).name;
}

function onMachine(begin: (world: World, machine: Machine) => Undo): Fault {
  return (world) => begin(world, world.core.random.pick(world.machines));
}

/**
 * Proven copies that have a sound one beside them to be mended from, and will have: where one copy is
 * enough, the other may be dropped as superfluous before anybody has noticed.
 */
function rottable(world: World): { node: string; layer: string }[] {
  const { checker } = world;
  const kept = world.volumes().filter(({ policy }) => copiesWanted(policy) > 1);
  return kept.flatMap(({ chain }) =>
    chain
      .filter((l) => l.manifest !== null && !l.replicas.some((r) => checker.isRotten(r.node, l.id)))
      .map((l) => ({ layer: l.id, clean: cleanReplicas(l) }))
      .filter(({ clean }) => clean.length > 1)
      .flatMap(({ layer, clean }) => clean.map(({ node }) => ({ node, layer }))),
  );
}

function note(world: World, text: string): void {
  world.core.trace.note('fault', text);
}

/** Every kind of fault by its name. */
export const faults: Record<string, Fault> = {
  'kill head': kill((w) => w.processes.heads()),
  'kill replica server': kill((w) => w.processes.replicaServers()),
  'kill proxy': kill((w) => w.processes.proxies()),
  'kill gateway': kill((w) => w.processes.gateways()),
  'kill daemon': (world) => {
    const node = someMachine(world, (n) => n.daemonRuns);
    node?.killDaemon();
    return node && nothing;
  },
  'freeze head': freeze((w) => w.processes.heads()),
  'freeze replica server': freeze((w) => w.processes.replicaServers()),
  'freeze proxy': freeze((w) => w.processes.proxies()),
  'freeze gateway': freeze((w) => w.processes.gateways()),
  'freeze daemon': (world) => {
    const node = someMachine(world, (n) => n.daemonRuns);
    node?.freezeDaemon();
    return node && (() => node.thawDaemon());
  },
  'freeze machine': (world) => {
    const node = someMachine(world, (n) => !n.machine.frozen);
    node?.freeze();
    return node && (() => node.thaw());
  },
  'power cut of one': powerCut((w) => [w.core.random.pick(w.nodes)]),
  'power cut of some': powerCut((w) => w.nodes.filter(() => w.core.random.chance(0.5))),
  'power cut of all': powerCut((w) => w.nodes),
  'cut two apart': cut((w) => both(machineName(w), machineName(w)).filter(([a, b]) => a !== b)),
  'cut one direction': cut((w) => {
    const places = [...w.machines.map((m) => m.name), etcdPlace];
    const [from, to] = [w.core.random.pick(places), w.core.random.pick(places)];
    return from === to ? [] : [[from, to]];
  }),
  'cut one off': cut((w) => {
    const name = machineName(w);
    const others = [...w.machines.map((m) => m.name), etcdPlace].filter((n) => n !== name);
    return others.flatMap((other) => both(name, other));
  }),
  'cut one off from peers': cut((w) => {
    const name = machineName(w);
    return w.machines.flatMap((m) => (m.name === name ? [] : both(name, m.name)));
  }),
  'cut one off from etcd': cut((w) => both(machineName(w), etcdPlace)),
  'etcd hangs': (world) => {
    note(world, 'etcd hangs');
    world.etcd.hang();
    return () => {
      note(world, 'etcd goes on');
      world.etcd.wake();
    };
  },
  'etcd restarts': (world) => {
    note(world, 'etcd stops');
    world.etcd.stop();
    return () => {
      note(world, 'etcd starts');
      world.etcd.start();
    };
  },
  'etcd compacts': (world) => {
    world.etcd.compact();
    return nothing;
  },
  'lease lost': (world) => {
    const leases = world.etcd.leases();
    if (leases.length === 0) return undefined;
    note(world, 'a lease is lost');
    world.etcd.lose(world.core.random.pick(leases));
    return nothing;
  },
  'slow network': (world) => {
    world.network.setSlow(world.core.random.pick([5, 50, 400]));
    return () => world.network.setSlow(0);
  },
  'lossy network': (world) => {
    world.network.setLossy(world.core.random.pick([0.02, 0.2]));
    return () => world.network.setLossy(0);
  },
  'watches lag': (world) => {
    const node = world.core.random.pick(world.nodes);
    node.lagMs = world.core.random.pick([50, 500, 2_500]);
    return () => {
      node.lagMs = 0;
    };
  },
  'calls repeated': (world) => {
    world.duplicates = 0.2;
    return () => {
      world.duplicates = 0;
    };
  },
  'disk full': onMachine((world, machine) => {
    world.processes.disk(machine).setFull(true);
    return () => world.processes.disk(machine).setFull(false);
  }),
  'disk errors': onMachine((world, machine) => {
    world.processes.disk(machine).failWrites(world.core.random.pick([0.05, 0.5, 1]));
    return () => world.processes.disk(machine).failWrites(0);
  }),
  'disk slow': onMachine((world, machine) => {
    world.processes.disk(machine).slow(world.core.random.pick([20, 300, 3_000]));
    return () => world.processes.disk(machine).slow(0);
  }),
  'bit rot': (world) => {
    const found = rottable(world);
    if (!world.scrubs || found.length === 0) return undefined;
    const { node, layer } = world.core.random.pick(found);
    return world.processes.disk(world.node(node).machine).rot(layer) ? nothing : undefined;
  },
  'backup target is silent': (world) => {
    if (world.targets.size === 0) return undefined;
    const target = world.core.random.pick([...world.targets.values()]);
    target.down = true;
    return () => {
      target.down = false;
    };
  },
  'processes do not start': onMachine((world, machine) => {
    world.processes.setSpawnFailures(machine, world.core.random.pick([0.1, 0.5]));
    return () => world.processes.setSpawnFailures(machine, 0);
  }),
};

/** Lets faults happen to a world, of a few kinds chosen for the history, until `stop`. */
export class FaultMaker {
  readonly #world: World;
  readonly #kinds: string[];
  readonly #everyMs: number;
  readonly #longestMs: number;
  readonly #undos = new Set<Undo>();
  #active = true;

  constructor(world: World) {
    const { random } = world.core;
    this.#world = world;
    const share = random.pick([0.1, 0.3, 0.8]);
    this.#kinds = Object.keys(faults).filter(() => random.chance(share));
    this.#everyMs = random.pick([300, 1_000, 3_000]);
    this.#longestMs = random.pick([1_000, 4_000, 12_000]);
  }

  async live(): Promise<void> {
    const { scheduler, random } = this.#world.core;
    if (this.#kinds.length === 0) return;
    while (this.#active) {
      await scheduler.sleep(random.int(1, 2 * this.#everyMs));
      if (this.#active) this.#begin(random.pick(this.#kinds));
    }
  }

  /** No new faults; those that last are undone. */
  stop(): void {
    this.#active = false;
    for (const undo of this.#undos) undo();
    this.#undos.clear();
  }

  #begin(kind: string): void {
    const { scheduler, random, trace } = this.#world.core;
    trace.note('fault', kind);
    const undo = faults[kind]?.(this.#world);
    if (undo === undefined) return;
    this.#world.count(kind);
    if (undo === nothing) return;
    const once = () => {
      if (this.#undos.delete(once)) undo();
    };
    this.#undos.add(once);
    scheduler.after(random.int(20, this.#longestMs), once);
  }
}
