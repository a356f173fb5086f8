import { readdirSync, rmSync } from 'node:fs';
import { QemuBlockDevices } from './block-devices.ts';
import type {
  Engine,
  GatewayHandle,
  HeadHandle,
  HeadSpec,
  PreparedHead,
  ProxyHandle,
  ProxySpec,
} from './engine.ts';
import {
  attachSocketPath,
  type EngineEnvironment,
  type EngineOptions,
  makeRunDirectories,
  runPart,
} from './environment.ts';
import { qemuStorageDaemon } from './graphs.ts';
import { Head } from './head.ts';
import { HeadStart } from './head-start.ts';
import { checkVolumeId } from './ids.ts';
import { layerPath } from './layer-files.ts';
import { PoolLayerStore } from './layer-store.ts';
import { heartbeatFile, probeFileAccess } from './probe.ts';
import {
  freeGatewayPort,
  type GatewaySpec,
  QemuGateway,
  QemuProxy,
  startGateway,
  startProxy,
} from './relay.ts';
import { QemuReplicaServer } from './replica-server.ts';
import { checkSocketPath, type RunRecord, readRunRecords } from './run-files.ts';
import { runTool } from './run-tool.ts';
import { Serial } from './serial.ts';
import { endKeeper } from './socket-keeper.ts';
import { StorageDaemon } from './storage-daemon.ts';
import { readThrottle } from './throttle.ts';
import { checkQemuVersion } from './versions.ts';

/** A process that does not answer within this time is taken for hung. */
const adoptTimeoutMs = 2_000;
const anyUuid = '00000000-0000-4000-8000-000000000000';

/** The engine on real `qemu-storage-daemon` processes. */
export class QemuEngine implements Engine {
  readonly replicas: QemuReplicaServer;
  readonly layers: PoolLayerStore;
  readonly devices: QemuBlockDevices;
  /** What QEMU says of itself. */
  readonly qemuVersion: string;
  readonly #environment: EngineEnvironment;
  readonly #gatewayStarts = new Serial();

  constructor(environment: EngineEnvironment, layers: PoolLayerStore, qemuVersion: string) {
    this.#environment = environment;
    this.replicas = new QemuReplicaServer(environment);
    this.devices = new QemuBlockDevices(environment, environment.deviceDirectory ?? '/dev');
    this.layers = layers;
    this.qemuVersion = qemuVersion;
  }

  async adopt(): ReturnType<Engine['adopt']> {
    const [heads, proxies, gateways] = await Promise.all([
      this.#adoptPart<HeadSpec, Head>('heads', async (daemon, spec) => {
        const sessions = (await daemon.exportIds()).map((id) => id.replace(/^s-/, ''));
        const openFile = this.#environment.layerPath(spec.open.layer);
        // Not what it was started with: they may have been changed since.
        const limits = await readThrottle(daemon);
        return new Head(daemon, spec, openFile, { sessions, limits });
      }),
      this.#adoptPart<ProxySpec, QemuProxy>(
        'proxies',
        async (daemon, spec) => new QemuProxy(daemon, spec),
      ),
      this.#adoptPart<GatewaySpec, QemuGateway>(
        'gateways',
        async (daemon, spec) => new QemuGateway(daemon, spec),
        // Its end is told to whoever adopts it, so that it comes back on the port that proxies know.
        (spec) => [QemuGateway.gone(spec)],
      ),
    ]);
    return { heads, proxies, gateways };
  }

  attachSockets(): string[] {
    return readdirSync(runPart(this.#environment, 'attach'))
      .filter((name) => name.endsWith('.sock'))
      .map((name) => name.slice(0, -'.sock'.length));
  }

  attachSocket(volume: string): string {
    return attachSocketPath(this.#environment, checkVolumeId(volume));
  }

  async removeAttachSocket(volume: string): Promise<void> {
    const path = this.attachSocket(volume);
    await endKeeper(path);
    rmSync(path, { force: true });
  }

  async prepareHead(
    volume: string,
    listener: 'new' | 'waiting' = 'new',
    expected?: HeadSpec,
  ): Promise<PreparedHead> {
    return await HeadStart.prepare(this.#environment, checkVolumeId(volume), listener, expected);
  }

  async startProxy(
    volume: string,
    where: Promise<ProxySpec>,
    listens: () => void,
    signal: AbortSignal,
  ): Promise<ProxyHandle> {
    return await startProxy(this.#environment, volume, where, listens, signal);
  }

  async startGateway(
    volume: string,
    session: string,
    sizeBytes: number,
    options: { port?: number; readOnly?: true } = {},
  ): Promise<GatewayHandle> {
    return await this.#gatewayStarts.run(async () => {
      const port = options.port ?? (await freeGatewayPort(this.#environment));
      const spec = { ...options, volume, session, port, sizeBytes };
      return await startGateway(this.#environment, spec);
    });
  }

  async #adoptPart<Spec, Handle extends HeadHandle | ProxyHandle | GatewayHandle>(
    part: 'heads' | 'proxies' | 'gateways',
    take: (daemon: StorageDaemon, spec: Spec) => Promise<Handle>,
    gone: (spec: Spec) => Handle[] = () => [],
  ): Promise<Handle[]> {
    const adopt = async (record: RunRecord<Spec>): Promise<Handle[]> => {
      const daemon = await StorageDaemon.adopt(record, adoptTimeoutMs);
      if (daemon === undefined) {
        this.#environment.log.warn({ process: record.files.name }, 'a process is gone');
        return gone(record.spec);
      }
      try {
        return [await take(daemon, record.spec)];
      } catch (error) {
        this.#environment.log.warn({ process: record.files.name, error }, 'not adopted, killed');
        await daemon.kill();
        return [];
      }
    };
    const records = readRunRecords<Spec>(runPart(this.#environment, part));
    return (await Promise.all(records.map(adopt))).flat();
  }
}

/**
 * Makes the engine of this node; it starts nothing and adopts nothing yet.
 * @throws `old-software` for a QEMU before 8.2, `bad-input` for a run directory whose path is too
 *   long for sockets, `engine` when files of the pool cannot be read.
 */
export async function createEngine(options: EngineOptions): Promise<QemuEngine> {
  checkSocketPath(`${runPart(options, 'heads')}/${anyUuid}.${2 ** 31}.01234567.qmp`);
  const version = checkQemuVersion(await runTool(qemuStorageDaemon, ['--version']));
  makeRunDirectories(options);
  const heartbeat = await heartbeatFile(options.pool);
  const access = await probeFileAccess(heartbeat, (message) => {
    options.log.warn({ pool: options.pool }, message);
  });
  const burntDirectory = runPart(options, 'burnt');
  const { pool, reserveBytes } = options;
  const layers = new PoolLayerStore({ pool, burntDirectory, reserveBytes });
  const environment: EngineEnvironment = {
    ...options,
    access,
    heartbeat,
    layerPath: (key) => layerPath(options.pool, key),
  };
  return new QemuEngine(environment, layers, version);
}
