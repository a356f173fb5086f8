import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { HyperscaleError } from '../errors.ts';
import { connectionsOf } from './connections.ts';
import type { GatewayHandle, ProxyHandle, ProxySpec } from './engine.ts';
import { attachSocketPath, type EngineEnvironment, runPart } from './environment.ts';
import { type HeldSocket, heldDescriptors } from './held-process.ts';
import { HeldRelay } from './held-relay.ts';
import { checkSessionId, checkVolumeId } from './ids.ts';
import { gatewayArguments, proxyArguments } from './relay-graph.ts';
import { RunFiles } from './run-files.ts';
import type { StorageDaemon } from './storage-daemon.ts';

type RelayProcess = Pick<StorageDaemon, 'ended' | 'kill'>;

/** A process between a consumer and a head, on either host. */
class Relay {
  readonly #daemon: RelayProcess;
  #ending = false;

  constructor(daemon: RelayProcess) {
    this.#daemon = daemon;
  }

  /** Calls `listener` when it ended without `kill`, at once when it has. */
  onExit(listener: () => void): void {
    const exited = () => {
      if (!this.#ending) listener();
    };
    this.#daemon.ended.then(exited, exited);
  }

  async kill(): Promise<void> {
    this.#ending = true;
    await this.#daemon.kill();
  }
}

export class QemuProxy extends Relay implements ProxyHandle {
  readonly spec: ProxySpec;
  readonly #pid: number;

  constructor(daemon: StorageDaemon, spec: ProxySpec) {
    super(daemon);
    this.spec = spec;
    this.#pid = daemon.identity.pid;
  }

  connections(): number {
    return connectionsOf(this.#pid);
  }
}

export type GatewaySpec = {
  volume: string;
  session: string;
  port: number;
  sizeBytes: number;
  /** The head refuses writes. */
  readOnly?: true;
};

export class QemuGateway extends Relay implements GatewayHandle {
  readonly volume: string;
  readonly session: string;
  readonly port: number;
  readonly sizeBytes: number;

  constructor(daemon: RelayProcess, spec: GatewaySpec) {
    super(daemon);
    this.volume = spec.volume;
    this.session = spec.session;
    this.port = spec.port;
    this.sizeBytes = spec.sizeBytes;
  }

  /** One that ended while no daemon was there to see it. */
  static gone(spec: GatewaySpec): QemuGateway {
    return new QemuGateway({ ended: Promise.resolve(), kill: () => Promise.resolve() }, spec);
  }
}

/** Forwards this host's attachment socket to a gateway. @see Engine.startProxy */
export async function startProxy(
  environment: EngineEnvironment,
  volume: string,
  where: Promise<ProxySpec>,
  listens: () => void,
  signal: AbortSignal,
): Promise<ProxyHandle> {
  // Waited for below, when the process stands.
  where.catch(() => undefined);
  const path = attachSocketPath(environment, checkVolumeId(volume));
  const group = environment.attachGroup;
  const listen: HeldSocket = { fd: heldDescriptors.attach, path, mode: 'reuse', group };
  const relay = await HeldRelay.start(environment, 'proxies', volume, [listen]);
  listens();
  const spec = await relay.until(
    where.then((known) => {
      checkSessionId(known.session);
      return known;
    }),
  );
  const files = relayFiles(environment, 'proxies', spec);
  const argv = proxyArguments(spec, files.events);
  return new QemuProxy(await relay.become(files, spec, argv, signal), spec);
}

/** Makes one session of the head on this host reachable over TCP. */
export async function startGateway(
  environment: EngineEnvironment,
  spec: GatewaySpec,
): Promise<GatewayHandle> {
  checkVolumeId(spec.volume);
  checkSessionId(spec.session);
  const files = relayFiles(environment, 'gateways', spec);
  const socket = attachSocketPath(environment, spec.volume);
  const argv = gatewayArguments({ ...spec, socket, address: environment.address }, files.events);
  const relay = await HeldRelay.start(environment, 'gateways', spec.volume);
  return new QemuGateway(await relay.become(files, spec, argv), spec);
}

/** A port of the gateways' range that nothing listens on. @throws `unavailable` */
export async function freeGatewayPort(environment: EngineEnvironment): Promise<number> {
  const [first, last] = environment.gatewayPorts;
  for (let port = first; port <= last; port++) {
    if (await canListen(environment.address, port)) return port;
  }
  throw new HyperscaleError('unavailable', `no port from ${first} to ${last} is free`, {
    hint: 'Widen ports.gateways in the configuration of this node.',
  });
}

function relayFiles(
  environment: EngineEnvironment,
  part: 'proxies' | 'gateways',
  spec: { volume: string; session: string },
): RunFiles {
  const short = createHash('sha256').update(spec.session).digest('hex').slice(0, 8);
  return new RunFiles(runPart(environment, part), `${spec.volume}.${short}`);
}

async function canListen(address: string, port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once('error', () => resolve(false));
  server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)));
  return await promise;
}
