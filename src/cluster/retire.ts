/**
 * Taking a node that is gone for good out of the cluster: what that takes for one volume. Pure.
 * Watches: the record, node leases. Wants: no record names the node's pool any more, and no data is
 * lost with it. Does: see `RetireStep`.
 */
import { listed } from '../volume/health-text.ts';
import { unsealedLayer } from '../volume/queries.ts';
import { isNamed, isWrittenTo, onlyThere, type Place } from '../volume/retire.ts';
import type { NodeView, UnsealedLayer, Volume } from '../volume/types.ts';

export type RetireStep =
  /** The record does not name it. */
  | { kind: 'done' }
  /** Take it out of the record. */
  | { kind: 'strip' }
  /** It was about to open the volume for the first time; nothing was served. */
  | { kind: 'abandon'; layer: string }
  /** It wrote the volume; a member that stayed up has everything. */
  | { kind: 'take-over' }
  /** Somebody else is at it. */
  | { kind: 'wait'; why: string }
  /** Data would be lost. */
  | { kind: 'lossy'; why: string };

export function retireStep(volume: Volume, gone: Place, nodes: readonly NodeView[]): RetireStep {
  if (!isNamed(volume, gone)) return { kind: 'done' };
  const only = onlyThere(volume, gone.pool);
  if (only.length > 0) {
    const epochs = listed(only.map((l) => String(l.epoch)));
    const layers = only.length === 1 ? 'the layer of epoch' : 'the layers of epochs';
    return { kind: 'lossy', why: `it has the only clean copy of ${layers} ${epochs}` };
  }
  if (!isWrittenTo(volume, gone.pool)) return { kind: 'strip' };
  const { tail } = volume;
  const unsealed = unsealedLayer(volume);
  if (unsealed === null) {
    if (tail.phase === 'opening' && tail.next.writer === gone.node) {
      return { kind: 'abandon', layer: tail.next.id };
    }
    return { kind: 'wait', why: 'it is being opened' };
  }
  const writer = unsealed.members[0];
  if (tail.phase !== 'fencing' && writer !== undefined && isThere(nodes, writer)) {
    return { kind: 'wait', why: `${writer.node} goes on without it` };
  }
  if (!hasAuthority(unsealed, nodes)) {
    const why = `no other member that stayed up since epoch ${unsealed.epoch} was opened can be reached`;
    return { kind: 'lossy', why };
  }
  return tail.phase === 'fencing' && isUp(nodes, tail.taker)
    ? { kind: 'wait', why: `${tail.taker} takes it over` }
    : { kind: 'take-over' };
}

/** A member that is up, so not the node that is gone, holds every acknowledged write. */
function hasAuthority(layer: UnsealedLayer, nodes: readonly NodeView[]): boolean {
  return layer.members.some((m) => isThere(nodes, m));
}

function isThere(nodes: readonly NodeView[], member: { node: string; boot: string }): boolean {
  return nodes.some((n) => n.name === member.node && n.lease?.boot === member.boot);
}

function isUp(nodes: readonly NodeView[], node: string): boolean {
  return nodes.some((n) => n.name === node && n.lease !== null);
}
