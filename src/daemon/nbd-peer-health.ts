import { probeExport } from '../engine/nbd-client.ts';
import { NbdPing } from '../engine/ping.ts';
import { pingExport } from '../engine/replica-graph.ts';
import { HyperscaleError } from '../errors.ts';
import type { Log } from '../node/context.ts';
import type { PeerHealth } from '../node/peer-health.ts';
import type { NodeView } from '../volume/types.ts';

const probeTimeoutMs = 1_000;

/** Health of peers' replica servers by small NBD reads from each that a head here depends on. */
export class NbdPeerHealth implements PeerHealth {
  readonly #node: (name: string) => NodeView | undefined;
  readonly #log: Log;
  readonly #pings = new Map<string, { ping: NbdPing; failure: string | null }>();
  readonly #listeners = new Set<(node: string) => void>();

  constructor(node: (name: string) => NodeView | undefined, log: Log) {
    this.#node = node;
    this.#log = log;
  }

  watch(nodes: ReadonlySet<string>): void {
    for (const [name, { ping }] of this.#pings) {
      if (nodes.has(name)) continue;
      ping.close();
      this.#pings.delete(name);
    }
    for (const name of nodes) if (!this.#pings.has(name)) this.#begin(name);
  }

  failure(node: string): string | null {
    return this.#pings.get(node)?.failure ?? null;
  }

  async probe(node: string): Promise<boolean> {
    const view = this.#node(node);
    if (view === undefined) return false;
    return probeExport(view.address, view.replicaPort, pingExport, probeTimeoutMs);
  }

  onChange(listener: (node: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #begin(name: string): void {
    const view = this.#node(name);
    if (view === undefined)
      throw new HyperscaleError('not-found', `node ${name} is not registered`);
    const entry: { ping: NbdPing; failure: string | null } = {
      ping: new NbdPing({
        address: view.address,
        port: view.replicaPort,
        onChange: (status) => {
          if (this.#pings.get(name) !== entry) return;
          const failure = status.state === 'alive' ? null : status.reason;
          if (failure === entry.failure) return;
          entry.failure = failure;
          this.#log.info({ peer: name, failure }, 'replica server changed');
          for (const listener of this.#listeners) listener(name);
        },
      }),
      failure: null,
    };
    this.#pings.set(name, entry);
  }
}
