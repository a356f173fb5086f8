import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../engine/durable.ts';
import type { WriteDurably } from '../engine/reserve.ts';
import { Serial } from '../engine/serial.ts';
import { errorText } from '../errors.ts';
import type { Log } from '../node/context.ts';
import { parseNode, parseRetired } from '../store/records.ts';
import type { RetiredPool, Retirement } from '../store/retirement.ts';
import type { Store } from '../store/store.ts';
import type { NodeRecord, NodeView } from '../volume/types.ts';

/** Nodes that were seen registered, and pools that were taken out for good. */
export type KnownNodes = { nodes: NodeRecord[]; retired: RetiredPool[] };

function pathIn(pool: string): string {
  return join(pool, 'nodes.json');
}

/** What this node has kept of the others; entries that make no sense are left out. */
export async function readKnownNodes(pool: string): Promise<KnownNodes> {
  try {
    const found = JSON.parse(await readFile(pathIn(pool), 'utf8')) as Partial<KnownNodes> | null;
    return {
      nodes: readable(found?.nodes, parseNode),
      retired: readable(found?.retired, parseRetired),
    };
  } catch {
    // A new pool has seen nobody; what a power cut or a bad sector left says nothing.
    return { nodes: [], retired: [] };
  }
}

function readable<T>(list: unknown, parse: (key: string, text: string) => T): T[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    try {
      return [parse('nodes.json', JSON.stringify(entry ?? null))];
    } catch {
      return [];
    }
  });
}

/**
 * Keeps the list of nodes in the pool: when etcd is lost it tells whom to ask. Nodes are added and
 * brought up to date; one goes when its pool was taken out for good.
 */
export async function keepKnownNodes(
  pool: string,
  store: Store & { retirement: Retirement },
  log: Log,
  write: WriteDurably = writeDurably,
): Promise<{ current(): KnownNodes; stop(): void }> {
  const before = await readKnownNodes(pool);
  const nodes = new Map(before.nodes.map((n) => [n.name, n]));
  const retired = new Map(before.retired.map((r) => [r.pool, r]));
  const serial = new Serial();
  let saved = '';
  const current = () => ({ nodes: [...nodes.values()], retired: [...retired.values()] });
  const learn = () => {
    if (store.quarantine() !== null) return;
    for (const node of store.nodes()) nodes.set(node.name, plain(node));
    for (const mark of store.retirement.retired()) retired.set(mark.pool, mark);
    for (const [name, node] of nodes) if (retired.has(node.pool)) nodes.delete(name);
  };
  const save = async () => {
    const text = `${JSON.stringify(current(), null, 1)}\n`;
    if (text === saved) return;
    await write(pathIn(pool), text);
    saved = text;
  };
  const attempt = () => {
    learn();
    serial.run(save).catch((error: unknown) => {
      log.warn({ error: errorText(error) }, 'the list of nodes cannot be kept');
    });
  };
  const off = store.onChange((change) => {
    if (change.kind === 'node') attempt();
  });
  attempt();
  return { current, stop: off };
}

function plain({ lease: _, drain: _drain, ...node }: NodeView): NodeRecord {
  return node;
}
