import { connectPeer, type PeerClient } from '../api/peer-client.ts';
import { HyperscaleError } from '../errors.ts';
import type { Peers, RemotePeer } from '../node/peers.ts';
import type { NodeView } from '../volume/types.ts';

type Connection = { address: string; port: number; client: PeerClient };

/** Keeps one connection pool to each node that is called, at the address the store has for it. */
export class PeerConnections implements Peers {
  readonly #node: (name: string) => NodeView | undefined;
  readonly #secret: string;
  readonly #connections = new Map<string, Connection>();

  constructor(node: (name: string) => NodeView | undefined, secret: string) {
    this.#node = node;
    this.#secret = secret;
  }

  of(node: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): RemotePeer {
    const { client } = this.#connection(node);
    return {
      prepareLayer: (request) => client.prepareLayer(request, options),
      fence: (request) => client.fence(request, options),
      serveLayer: (request) => client.serveLayer(request, options),
      openGateway: (request) => client.openGateway(request, options),
      manifest: (request) => client.manifest(request, options),
      verifyLayer: (request, signal) => client.verifyLayer(request, signal, options),
      readLayer: (request) => client.readLayer(request, options),
      work: () => client.work(options),
      attach: (volume) => client.attach(volume, options),
      detach: (volume) => client.detach(volume, options),
      makeDevice: (request) => client.makeDevice(request, options),
      removeDevice: (request) => client.removeDevice(request, options),
      seal: (volume) => client.seal(volume, options),
      groupSeal: (request) => client.groupSeal(request, options),
      extend: (request) => client.extend(request, options),
      connections: (request) => client.connections(request, options),
      resizeConsumers: (request) => client.resizeConsumers(request, options),
      inspect: (request) => client.inspect(request, options),
      measurePool: (request) => client.measurePool(request, options),
      quarantine: (request) => client.quarantine(request, options),
      revoked: (request) => client.revoked(request, options),
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#connections.values()].map((c) => c.client.close()));
  }

  #connection(name: string): Connection {
    const view = this.#node(name);
    if (view === undefined) {
      throw new HyperscaleError('not-found', `node ${name} is not registered`);
    }
    const { address, apiPort: port } = view;
    const known = this.#connections.get(name);
    if (known?.address === address && known.port === port) return known;
    known?.client.close().catch(() => undefined);
    const client = connectPeer({ node: name, address, port, secret: this.#secret });
    const connection = { address, port, client };
    this.#connections.set(name, connection);
    return connection;
  }
}
