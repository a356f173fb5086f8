import pLimit from 'p-limit';
import type { LayerStore } from '../../src/engine/engine.ts';
import { Agent } from '../../src/node/agent.ts';
import { BackupDuties } from '../../src/node/backup-duties.ts';
import { Backups } from '../../src/node/backup-service.ts';
import type { Context, Environment, Log } from '../../src/node/context.ts';
import { EventLog } from '../../src/node/events.ts';
import { Rebalance } from '../../src/node/rebalance.ts';
import { Scrub } from '../../src/node/scrub.ts';
import { Service } from '../../src/node/service.ts';
import { createEtcdStore, type EtcdStore } from '../../src/store/etcd-store.ts';
import { leaseSeconds, type Store } from '../../src/store/store.ts';
import type { NodeLease } from '../../src/volume/types.ts';
import { SimTargets } from './backups.ts';
import { type Core, Violation } from './core.ts';
import { type ReplicaState, SimPeerHealth } from './health.ts';
import { createSimImages } from './images.ts';
import type { Node } from './node.ts';
import type { NodeRun } from './node-run.ts';
import { contentThroughRun, engineThroughRun } from './node-seams.ts';
import type { NodeWorld } from './node-world.ts';
import { SimPeers } from './peers.ts';
import { clusterId } from './store-server.ts';
import { openSimSession } from './store-session.ts';
import { simVolumeIds } from './volume-ids.ts';

/** As in `src/daemon`: these times are part of what is tested. */
const leasesSettleMs = (leaseSeconds + 2) * 1_000;
const jobsAtATime = 2;
const spaceEveryMs = 5_000;
const worthTelling = 0.01;
const ownLookMs = 1_000;
const hungAfterMs = 5_000;
const version = 'sim';
const backupOptions = { bytesPerSecond: 0, socketDirectory: '/run/backup' };
/** Fast, and all over again every three seconds. */
const scrubOptions = { bytesPerSecond: 1e12, intervalDays: 3 / 86_400 };
/** Often enough for something to be moved while there are faults. */
const rebalanceTimes = { lookMs: 2_000, settleMs: 3_000 };
const rebalancePercent = 15;
/** Simulated wall clocks begin here. */
const wallClock = Date.parse('2030-01-01T00:00:00Z');
/** What a machine without a pool tells of the room on it. */
const noSpace = { space: async () => ({ totalBytes: 0, freeBytes: 0 }) };
/** More looks at the nodes than this at one instant: a worker spins. */
const mostLooks = 3_000;

/**
 * What `startDaemon` of src/daemon puts together, of the real agent and service in simulated
 * surroundings. `listen` makes the daemon ready for calls.
 */
export async function composeDaemon(
  world: NodeWorld,
  node: Node,
  run: NodeRun,
): Promise<{
  store: EtcdStore;
  headsAreNewest: () => boolean;
  listen: () => Promise<Service>;
}> {
  const { core, etcd, network, processes, repairDelayMs, checker } = world;
  const { machine } = node;
  const { name, pool, boot, address } = machine;
  const lacksPool = machine.withoutPool === true ? { withoutPool: true as const } : {};
  const seams = processes.daemon(machine);
  const engine = engineThroughRun(seams.engine, run);
  const content = contentThroughRun(seams.content, run);
  const log = logOf(world, name);
  const store = await createEtcdStore({
    endpoints: ['http://etcd:2379'],
    log,
    seen: { clusterId, revision: '0' },
    clock: run.clock,
    open: (_endpoint, callTimeoutMs) =>
      openSimSession(
        { core, network, etcd, machine: name, run, lag: () => lagOf(world, node) },
        callTimeoutMs,
      ),
  });
  const environment = environmentOf(core, run);
  const labels = world.labels.get(name);
  const targets = [...world.targets.keys()].filter((target) => world.knowsTarget(name, target));
  await store.registerNode({
    name,
    pool,
    ...lacksPool,
    address,
    apiPort: 1,
    replicaPort: 2,
    registeredAt: environment.now(),
    ...(labels === undefined ? {} : { labels }),
    ...(targets.length === 0 ? {} : { backupTargets: targets }),
  });
  await keepLeaseCurrent(run, store, machine.withoutPool === true ? noSpace : engine.layers, {
    name,
    pool,
    boot,
    version,
  });
  let connectedSince = core.scheduler.now() - leasesSettleMs;
  store.onConnection((connected) => {
    if (connected) connectedSince = core.scheduler.now();
  });
  const events = new EventLog(name, environment.now);
  events.onEvent(({ type, text }) => {
    if (type !== 'volume.record') core.trace.note(name, `${type}: ${text}`);
  });
  let looked = { at: 0, times: 0 };
  const context: Context = {
    self: { node: name, pool, boot },
    store,
    engine,
    content,
    peers: new SimPeers(world, node, run, (peer) => store.node(peer) !== undefined),
    health: new SimPeerHealth(core, name, run, (peer) => replicaState(world, node, peer)),
    events,
    environment,
    log,
    ...lacksPool,
    repairDelayMs,
    nodes: () => {
      const now = core.scheduler.now();
      if (looked.at !== now) looked = { at: now, times: 0 };
      looked.times += 1;
      if (looked.times > mostLooks) throw new Violation(`${name} looks again and again at once`);
      return store.nodes();
    },
    leasesKnown: () => store.connected() && core.scheduler.now() - connectedSince >= leasesSettleMs,
  };
  const agent = new Agent(context, pLimit(jobsAtATime));
  store.onConnection((connected) => {
    if (connected) environment.after(leasesSettleMs + 100, () => agent.kickAll());
  });
  return {
    store,
    headsAreNewest: () => agent.headsAreNewest(),
    async listen() {
      await agent.start();
      new Rebalance(agent, rebalancePercent, rebalanceTimes).start();
      if (world.scrubs) new Scrub(agent, node.scrubMemory, scrubOptions).start();
      watchOwnReplicaServer(world, node, run);
      const service = new Service(agent, version, simVolumeIds(environment), store.retirement);
      if (machine.withoutPool !== true) {
        const host = processes.host(machine);
        const lying = { host, checker, targets: world.targets, known: targets };
        const made = await createSimImages(agent, service, lying);
        service.images = made.images;
        service.restores = made.restores;
      }
      const calls = new SimTargets({ ...world, machine, run, known: targets });
      const duties = new BackupDuties(agent, calls, backupOptions);
      duties.start();
      service.backups = new Backups(agent, calls, duties);
      return service;
    },
  };
}

/** As `src/daemon/lease.ts`. */
async function keepLeaseCurrent(
  run: NodeRun,
  store: Store,
  layers: Pick<LayerStore, 'space'>,
  self: Pick<NodeLease, 'name' | 'pool' | 'boot' | 'version'>,
): Promise<void> {
  let told: NodeLease = { ...self, ...(await layers.space()) };
  const lease = await store.keepLease(told);
  const look = async () => {
    const space = await layers.space();
    const change = Math.abs(space.freeBytes - told.freeBytes);
    if (space.totalBytes === told.totalBytes && change < worthTelling * space.totalBytes) return;
    told = { ...told, ...space };
    await lease.update(told);
  };
  run.every(spaceEveryMs, () => {
    look().catch(() => undefined);
  });
}

function environmentOf({ random, scheduler }: Core, run: NodeRun): Environment {
  let text = { at: -1, is: '' };
  return {
    now() {
      const at = Math.floor(scheduler.now());
      if (text.at !== at) text = { at, is: new Date(wallClock + at).toISOString() };
      return text.is;
    },
    monotonic: () => scheduler.now(),
    randomId: () => random.hex(32),
    after: (milliseconds, callback) => run.after(milliseconds, callback),
  };
}

/** What a daemon logs as an error is a defect. */
function logOf({ core: { trace }, checker }: NodeWorld, name: string): Log {
  const note = (values: object, text: string) =>
    trace.note(name, `${text} ${JSON.stringify(values)}`);
  return {
    debug: note,
    info: note,
    warn: note,
    error: (values, text) => {
      note(values, `ERROR ${text}`);
      const { layer = '' } = values as { layer?: string };
      const rots = checker.disks.some((d) => checker.isRotten(d.machine.name, layer));
      if (text === 'a copy is damaged' && rots) return;
      throw new Violation(`${name} reports a defect: ${text} ${JSON.stringify(values)}`);
    },
  };
}

function lagOf({ core }: NodeWorld, { lagMs }: Node): number {
  return lagMs === 0 ? 0 : core.random.int(0, lagMs);
}

/** How a peer's replica server looks from a node. */
function replicaState(world: NodeWorld, from: Node, peer: string): ReplicaState {
  const { processes, network } = world;
  const { machine } = world.node(peer);
  if (processes.replicaAnswers(from.machine, machine)) return 'answers';
  const { name } = from.machine;
  const passes = network.reachable(name, peer) && network.reachable(peer, name);
  const kernel = passes && machine.powered && !machine.frozen;
  const runs = processes.replicaServers().some((p) => p.machine === machine);
  return kernel && !runs ? 'refuses' : 'silent';
}

/** As `src/daemon/own-replica-server.ts`: a frozen one is ended, and then started anew. */
function watchOwnReplicaServer(world: NodeWorld, node: Node, run: NodeRun): void {
  const { processes, core } = world;
  const { machine } = node;
  let answeredAt = core.scheduler.now();
  let lookedAt = answeredAt;
  run.every(ownLookMs, () => {
    const now = core.scheduler.now();
    const late = now - lookedAt > 2 * ownLookMs;
    lookedAt = now;
    if (late || replicaState(world, node, machine.name) !== 'silent') answeredAt = now;
    if (now - answeredAt <= hungAfterMs) return;
    answeredAt = now;
    core.trace.note(machine.name, 'its own replica server hangs and is killed');
    for (const p of processes.replicaServers()) if (p.machine === machine) p.kill();
  });
}
