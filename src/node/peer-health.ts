/**
 * Health of the replica servers that this node's heads depend on, as seen from here. It is the
 * server that counts, not the daemon beside it: restarting a daemon evicts nobody.
 */
export interface PeerHealth {
  /** Watches exactly these nodes from now on. */
  watch(nodes: ReadonlySet<string>): void;
  /** Why a watched node's replica server is held to have failed; null while it answers. */
  failure(node: string): string | null;
  /** Whether a node's replica server answers now, for one that is not watched yet. */
  probe(node: string): Promise<boolean>;
  /** Called when a watched node fails or recovers. */
  onChange(listener: (node: string) => void): () => void;
}
