import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import pLimit from 'p-limit';
import { pino } from 'pino';
import { checkSecret } from '../api/secret.ts';
import { createApi } from '../api/server.ts';
import { createEngine } from '../engine/index.ts';
import { createLayerContent } from '../engine/layer-content.ts';
import { measurePool } from '../engine/pool-usage.ts';
import { Reserve } from '../engine/reserve.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { Virsh } from '../libvirt/virsh.ts';
import { Agent } from '../node/agent.ts';
import type { Context, Environment } from '../node/context.ts';
import { EventLog } from '../node/events.ts';
import { recognisePool } from '../node/pool.ts';
import { Rebalance } from '../node/rebalance.ts';
import { endLeftovers, endServing, untilRetired } from '../node/retire-self.ts';
import { Scrub } from '../node/scrub.ts';
import { scrubMemoryIn } from '../node/scrub-memory.ts';
import { Service } from '../node/service.ts';
import { openStateDirectory } from '../node/state-directory.ts';
import { tellOfDrains } from '../node/tell-of-drains.ts';
import { keepKnownNodes } from '../recovery/known-nodes.ts';
import { createEtcdStore } from '../store/etcd-store.ts';
import { startManagedEtcd } from '../store/managed-etcd.ts';
import { leaseSeconds } from '../store/store.ts';
import { GuestDisks } from '../vm/resize.ts';
import type { NodeRecord } from '../volume/types.ts';
import { createBackups } from './backups.ts';
import { type Config, homeOf } from './config.ts';
import { groupId } from './group.ts';
import { createImages } from './images.ts';
import { keepLeaseCurrent } from './lease.ts';
import { takeLock } from './lock.ts';
import { NbdPeerHealth } from './nbd-peer-health.ts';
import { watchOwnReplicaServer } from './own-replica-server.ts';
import { PeerConnections } from './peer-connections.ts';
import { believed, createRecovery, tellOfQuarantine } from './recovery.ts';
import { keepReserve } from './reserve.ts';
import { keepStoreSeen, readStoreSeen } from './store-seen.ts';
import { version } from './version.ts';
import { createVmDisks } from './vm-disks.ts';
import { createIoErrors } from './vm-io-errors.ts';
import { createMoves } from './vm-moves.ts';
import { keepWatchdog } from './watchdog.ts';

/** Background jobs of all volumes that one node works on at a time. */
const jobsAtATime = 2;
/** After the store came back, leases are believed again when every live node had time to renew. */
const leasesSettleMs = (leaseSeconds + 2) * 1_000;
/** What a node without a pool tells of the room on it. */
const noSpace = { space: async () => ({ totalBytes: 0, freeBytes: 0 }) };

/** Runs the daemon until `stop` fires. Guests are not touched by its end. */
export async function startDaemon(config: Config, stop: AbortSignal): Promise<void> {
  const log = pino({ level: config.logLevel, base: { node: config.node } });
  const { group } = config.attachments;
  const attachGroup = group === null ? undefined : await groupId(group, 'attachments.group');
  await mkdir(config.runDirectory, { recursive: true });
  await mkdir(config.logDirectory, { recursive: true });
  const runLock = await takeLock(
    join(config.runDirectory, 'hyperscaled.lock'),
    `the run directory ${config.runDirectory}`,
  );
  const { home, isPool } = homeOf(config);
  const { pool } = isPool
    ? await recognisePool(home, config.node)
    : await openStateDirectory(home, config.node, new Date().toISOString());
  const reserveBytes = isPool ? config.space.reserveBytes : 0;
  // Also when guests have filled the pool while no daemon ran.
  const reserve = new Reserve(home, reserveBytes);
  const poolLock = await takeLock(
    join(home, '.hyperscaled.lock'),
    `the ${isPool ? 'pool' : 'state directory'} ${home}`,
    (work) => reserve.during(work),
  );
  const boot = await readBootId(config.bootIdFile);
  const secret = await readSecret(config.secretFile);
  const self = { node: config.node, pool, boot };
  log.info({ ...self, version }, 'starting');

  const engine = await createEngine({
    pool: home,
    runDirectory: config.runDirectory,
    logDirectory: config.logDirectory,
    address: config.address,
    replicaPort: config.ports.replica,
    gatewayPorts: config.ports.gateways,
    attachGroup,
    deviceDirectory: config.deviceDirectory,
    reserveBytes,
    log,
  });
  const etcd = config.etcd === 'managed' ? await managedEtcd(config, log) : null;
  const endpoints = etcd?.endpoints ?? (config.etcd === 'managed' ? [] : config.etcd);
  const store = await createEtcdStore({
    endpoints,
    log,
    signal: stop,
    ...(await readStoreSeen(home, engine.layers)),
  });
  const { write } = engine.layers.reserve;
  const seen = keepStoreSeen(home, store, log, write);
  const known = await keepKnownNodes(home, store, log, write);
  const targetNames = Object.keys(config.backup.targets).sort();
  const record: NodeRecord = {
    name: config.node,
    pool,
    ...(isPool ? {} : { withoutPool: true }),
    address: config.address,
    apiPort: config.ports.api,
    replicaPort: config.ports.replica,
    registeredAt: new Date().toISOString(),
    ...(Object.keys(config.labels).length === 0 ? {} : { labels: config.labels }),
    ...(targetNames.length === 0 ? {} : { backupTargets: targetNames }),
  };

  let connectedSince = performance.now() - leasesSettleMs;
  store.onConnection((connected) => {
    if (connected) connectedSince = performance.now();
  });
  const environment = realEnvironment();
  const guests = new GuestDisks(new Virsh(config.libvirt.uri));
  const context: Context = {
    self,
    store,
    engine,
    content: createLayerContent(engine.layers),
    blockDevices: engine.devices,
    poolLimits: config.space,
    ...(isPool
      ? { measurePool: (volumes?: readonly string[]) => measurePool(home, volumes) }
      : { withoutPool: true as const }),
    peers: new PeerConnections((name) => store.node(name), secret),
    health: new NbdPeerHealth((name) => store.node(name), log),
    events: new EventLog(config.node, environment.now),
    environment,
    log,
    // First devices: a guest may have one for its disk.
    resizeConsumers: async (volume, sizeBytes, signal) => [
      ...(await agent.devices.resize(volume, sizeBytes)),
      ...(await guests.resize(volume, sizeBytes, signal)),
    ],
    repairDelayMs: config.repairDelaySeconds * 1_000,
    ...(config.localCopyBytesPerSecond === 0
      ? {}
      : { localCopyBytesPerSecond: config.localCopyBytesPerSecond }),
    nodes: () => store.nodes(),
    leasesKnown: () => store.connected() && performance.now() - connectedSince >= leasesSettleMs,
  };
  store.onConnection((connected) => {
    if (connected) environment.after(leasesSettleMs + 100, () => agent.kickAll());
  });
  const agent = new Agent(context, pLimit(jobsAtATime));
  const watch = () => keepWatchdog({ ...config, log }, store, () => agent.headsAreNewest());
  tellOfQuarantine(store, context);
  const recovery = createRecovery({ agent, endpoints, record, secret, store, seen, known });
  const service = new Service(agent, version, randomUUID, store.retirement, recovery);
  const moves = createMoves({ config, store, context, service, secret });
  service.secret = secret;
  service.moves = moves.service;
  service.vms = createVmDisks({ agent, service, moves });
  const { virsh, domainEvents } = moves;
  const ioErrors = createIoErrors({ agent, service, virsh, domainEvents });
  const api = createApi(service, { secret, log });
  const socket = join(config.runDirectory, 'api.sock');
  await api.prepare(socket);
  const listen = async () => {
    await api.listenTcp(config.address, config.ports.api);
    await api.listenUnix(socket);
    log.info({ socket }, 'ready');
  };
  const startsApart = store.quarantine() !== null;
  if (startsApart) {
    // What serves guests runs on; the records that would say what to do are not believed.
    await engine.replicas.start();
    await listen();
    const watchdog = watch();
    const isBelieved = await believed(store, stop);
    watchdog.stop();
    if (!isBelieved) {
      for (const part of [seen, known]) part.stop();
      await api.close();
      etcd?.release();
      await poolLock.release();
      await runLock.release();
      return;
    }
  }
  try {
    await store.registerNode(record);
  } catch (error) {
    if (store.retirement.retired().some((r) => r.pool === pool)) await endLeftovers(engine, log);
    throw error;
  }
  const watchdog = watch();
  const lease = await keepLeaseCurrent(store, isPool ? engine.layers : noSpace, {
    ...self,
    version,
  });
  const refill = keepReserve(engine.layers, log);
  service.space.watch.start();
  await moves.removeLeftovers();
  await agent.start();
  const streams = isPool ? await createImages(config, home, { agent, service }) : null;
  const backups = await createBackups(config, agent);
  service.backups = backups.service;
  ioErrors.start();
  moves.start();
  const scrub = new Scrub(agent, scrubMemoryIn(home, write), config.scrub);
  scrub.start();
  const rebalance = new Rebalance(agent, config.rebalancePercent);
  rebalance.start();
  const drains = tellOfDrains(context);
  const own = watchOwnReplicaServer(
    { address: config.address, port: config.ports.replica, pid: () => engine.replicas.pid },
    log,
  );
  if (!startsApart) await listen();

  const stopped = new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    stop.addEventListener('abort', () => resolve(), { once: true });
  });
  const refusals: Error[] = [];
  await Promise.race([stopped, untilRetired(store, store.retirement, pool)]).catch(
    async (error: unknown) => {
      refusals.push(error instanceof Error ? error : new Error(errorText(error)));
      await endServing(agent);
    },
  );
  log.info({ signal: stop.reason }, 'stopping; guests and their disks run on');
  scrub.stop();
  rebalance.stop();
  backups.stop();
  drains.stop();
  ioErrors.stop();
  await moves.stop();
  await streams?.stop();
  agent.stop();
  own.stop();
  context.health.watch(new Set());
  lease.stop();
  refill.stop();
  service.space.watch.stop();
  seen.stop();
  known.stop();
  watchdog.stop();
  await api.close();
  await context.peers.close();
  await store.close();
  etcd?.release();
  await poolLock.release();
  await runLock.release();
  const [refused] = refusals;
  if (refused !== undefined) throw refused;
}

function managedEtcd(config: Config, log: Parameters<typeof startManagedEtcd>[0]['log']) {
  return startManagedEtcd({
    dataDirectory: join(dirname(homeOf(config).home), 'etcd'),
    runDirectory: config.runDirectory,
    logDirectory: config.logDirectory,
    address: config.address,
    clientPort: config.ports.etcdClient,
    peerPort: config.ports.etcdPeer,
    log,
  });
}

async function readBootId(path: string): Promise<string> {
  const boot = (await readFile(path, 'utf8')).trim();
  if (boot.length < 8) {
    throw new HyperscaleError('bad-input', `${path} holds no boot id`, {
      hint: 'Leave bootIdFile at /proc/sys/kernel/random/boot_id.',
    });
  }
  return boot;
}

async function readSecret(path: string): Promise<string> {
  let secret: string;
  try {
    secret = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new HyperscaleError('bad-input', `cannot read the secret ${path}: ${errorText(error)}`, {
      hint: 'Make one on the first node (openssl rand -hex 32) and copy it to all others.',
      cause: error,
    });
  }
  checkSecret(secret);
  return secret;
}

function realEnvironment(): Environment {
  return {
    now: () => new Date().toISOString(),
    monotonic: () => performance.now(),
    randomId: () => randomBytes(16).toString('hex'),
    after: (milliseconds, callback) => {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
  };
}
