/** `VmMovesHere` of other nodes. */
import { connectPeer } from '../api/peer-client.ts';
import { HyperscaleError } from '../errors.ts';
import type { NodeName, NodeView } from '../volume/types.ts';
import type { MoveContext } from './move-context.ts';
import type { VmMovesHere } from './moves.ts';

type Peer = ReturnType<typeof connectPeer>;

/** Keeps a connection to each node that is called, at the address that the store has for it. */
export class VmNodeCalls {
  readonly #node: (name: NodeName) => NodeView | undefined;
  readonly #secret: string;
  readonly #peers = new Map<NodeName, { at: string; peer: Peer }>();

  constructor(node: (name: NodeName) => NodeView | undefined, secret: string) {
    this.#node = node;
    this.#secret = secret;
  }

  readonly of: MoveContext['far'] = (node, options): VmMovesHere => {
    const ask = <T>(method: string, body: object, signal?: AbortSignal): Promise<T> => {
      const { timeoutMs } = options;
      const stop = signal ?? options.signal;
      return this.#peer(node).vm<T>(method, body, {
        timeoutMs,
        ...(stop === undefined ? {} : { signal: stop }),
      });
    };
    return {
      presence: (uuid) => ask('presence', { uuid }),
      canRun: () => ask('canRun', {}),
      takeIn: (uuid, signal) => ask('takeIn', { uuid }, signal),
      migrate: (uuid, to, signal) => ask('migrate', { uuid, to }, signal),
      cancelMigration: (uuid) => ask('cancelMigration', { uuid }),
      migration: (uuid) => ask('migration', { uuid }),
    };
  };

  /** One call of `/peer/v1/vm/METHOD`. */
  ask<T>(
    node: NodeName,
    method: string,
    body: object,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<T> {
    return this.#peer(node).vm<T>(method, body, options);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#peers.values()].map(({ peer }) => peer.close()));
  }

  #peer(name: NodeName): Peer {
    const view = this.#node(name);
    if (view === undefined) {
      throw new HyperscaleError('not-found', `node ${name} is not registered`);
    }
    const { address, apiPort: port } = view;
    const at = `${address} ${port}`;
    const known = this.#peers.get(name);
    if (known?.at === at) return known.peer;
    known?.peer.close().catch(() => undefined);
    const peer = connectPeer({ node: name, address, port, secret: this.#secret });
    this.#peers.set(name, { at, peer });
    return peer;
  }
}
