import type { PeerService } from '../api/service.ts';

/** Calls to the daemons of other nodes. Every call has a bounded time and rejects after it. */
export interface Peers {
  /** The peer service of a node; calls fail with `node-down` when it cannot be reached. */
  of(node: string, options?: { timeoutMs?: number; signal?: AbortSignal }): RemotePeer;
  close(): Promise<void>;
}

/** As `PeerService`, but everything is asynchronous. */
export type RemotePeer = {
  [K in keyof PeerService]: PeerService[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};
