import type { StoreSeen } from '../store/identity.ts';
import type { NodeRecord } from '../volume/types.ts';
import type { NodeFacts } from './facts.ts';

/** What a recovery asks of another node. */
export type RecoveryPeer = {
  facts(): Promise<NodeFacts>;
  fence(volume: string, epoch: number): Promise<void>;
  accept(seen: StoreSeen): Promise<void>;
  close(): Promise<void>;
};

type PeersOptions = {
  /** This node, asked like the others. */
  here: Omit<RecoveryPeer, 'close'>;
  connect: (node: NodeRecord) => RecoveryPeer;
};

/** Connections to the nodes that are asked, for as long as one recovery lasts. */
export class RecoveryPeers {
  readonly #options: PeersOptions;
  readonly #open = new Map<string, RecoveryPeer>();
  /** Those that have answered, by the node's name. */
  readonly #answering = new Map<string, RecoveryPeer>();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  async ask(node: NodeRecord): Promise<NodeFacts> {
    const key = JSON.stringify([node.name, node.address, node.apiPort]);
    const peer = this.#open.get(key) ?? this.#options.connect(node);
    this.#open.set(key, peer);
    const facts = await peer.facts();
    this.#answering.set(node.name, peer);
    return facts;
  }

  /** One that has answered before; this node is none of them. */
  named(name: string): Pick<RecoveryPeer, 'fence' | 'accept'> {
    return this.#answering.get(name) ?? this.#options.here;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((peer) => peer.close()));
  }
}
