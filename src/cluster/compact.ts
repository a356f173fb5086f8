/**
 * Gives space back to the pools. Watches: records. Wants: the wish of a compact fulfilled. Does: has
 * one run of layers after the other written anew where there is room for it, the smallest first.
 */
import { beginCompact, endCompact, runsToCompact } from '../volume/compact.ts';
import type { NodeView, SealedLayer, Volume } from '../volume/types.ts';
import { builderOf } from './merge.ts';
import type { Step } from './repair.ts';

/** So much of a pool stays free beside what is written anew. */
const leftFree = 0.02;

/** The next step of a compact, or null. A merge that is under way is `mergeStep`'s. */
export function compactStep(
  volume: Volume,
  view: { nodes: readonly NodeView[]; newId: () => string },
): Step | null {
  const { compact, merge, tail } = volume;
  if (compact === undefined || merge !== null) return null;
  if (tail.phase !== 'idle' && tail.phase !== 'open') return null;
  const runs = runsToCompact(volume);
  if (runs.length === 0) return { text: 'it is compacted', apply: endCompact };
  const up = (node: string) => view.nodes.some((n) => n.name === node && n.lease !== null);
  for (const run of runs.sort((a, b) => bytesOf(a) - bytesOf(b))) {
    const builder = builderOf(volume, run, up);
    if (builder === null || !run.every(({ replicas }) => haveRoom(replicas, run, view.nodes))) {
      continue;
    }
    const ids = run.map((l) => l.id);
    return {
      text: `layers ${run.map((l) => l.epoch).join(', ')} are being written anew on ${builder.node}`,
      apply: (v) => beginCompact(v, ids, view.newId(), builder),
    };
  }
  return null;
}

/** The result is at most as large as what it is made of, and lies beside it until no head needs that. */
function haveRoom(
  replicas: SealedLayer['replicas'],
  run: readonly SealedLayer[],
  nodes: readonly NodeView[],
): boolean {
  const bytes = bytesOf(run);
  return replicas.every(({ node }) => {
    const lease = nodes.find((n) => n.name === node)?.lease;
    return lease != null && bytes <= lease.freeBytes - leftFree * lease.totalBytes;
  });
}

function bytesOf(run: readonly SealedLayer[]): number {
  return run.reduce((sum, layer) => sum + (layer.bytes ?? 0), 0);
}
