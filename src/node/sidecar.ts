/**
 * Sidecars: the record of a volume, kept in the pools of the nodes that have a part in it, so that
 * records can be rebuilt when etcd is lost for good (docs/recovery.md). Pure.
 *
 * A node keeps the newest record durably before it makes a layer for it, serves a layer to another
 * node, or deletes a file because of it. So whoever did something for a volume knows a record that
 * is at least as new, and every member of a write set knows that write set before a head serves it.
 */
import { errorText, HyperscaleError } from '../errors.ts';
import { parseVolume } from '../store/records.ts';
import type { Versioned } from '../store/store.ts';
import { assertRecord } from '../volume/invariants.ts';
import type { NodeName, Volume } from '../volume/types.ts';

/** A kept record: of which metadata it is, and the revision at which it was read. */
export type Sidecar = { clusterId: string; revision: string; volume: Volume };

export function sidecarText(clusterId: string, record: Versioned<Volume>): string {
  const { revision, value } = record;
  return `${JSON.stringify({ schema: 1, clusterId, revision, volume: value })}\n`;
}

/**
 * Reads a sidecar; whatever may lie in a file is an answer or an error, never anything else.
 * @throws `damaged` saying what is wrong, `old-software` for a newer schema.
 */
export function parseSidecar(volume: string, text: string | null): Sidecar {
  const damaged = (why: string, cause?: unknown) =>
    new HyperscaleError('damaged', `the kept record of volume ${volume} is damaged: ${why}`, {
      hint: 'It is left out; the other nodes of the volume keep it as well.',
      values: { volume },
      cause,
    });
  if (text === null) throw damaged('it cannot be read');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(errorText(error));
  }
  if (typeof value !== 'object' || value === null) throw damaged('it is not an object');
  const { clusterId, revision, volume: record } = value as Partial<Record<string, unknown>>;
  if (typeof clusterId !== 'string' || clusterId === '') throw damaged('it has no cluster id');
  if (typeof revision !== 'string' || !/^\d{1,20}$/.test(revision)) {
    throw damaged('its revision is not a whole number');
  }
  try {
    const parsed = parseVolume(`volumes/${volume}`, JSON.stringify(record ?? null));
    assertRecord(parsed);
    for (const node of nodesOf(parsed)) {
      if (typeof node !== 'string') throw new Error('a node has no name');
    }
    return { clusterId, revision, volume: parsed };
  } catch (error) {
    if (error instanceof HyperscaleError && error.code === 'old-software') throw error;
    throw damaged(errorText(error), error);
  }
}

/** The nodes that hold anything of a volume, write it, use it, or have to delete something of it. */
export function nodesOf(volume: Volume): Set<NodeName> {
  const { chain, tail, merge, garbage, attachments } = volume;
  const places: { node: NodeName }[] = [
    ...chain.flatMap((l) => l.replicas),
    ...(merge?.replicas ?? []),
    ...garbage.flatMap((g) => g.holders),
    ...(volume.importing ? [volume.importing] : []),
  ];
  if (tail.phase === 'open') places.push(...tail.layer.members);
  if (tail.phase === 'opening') {
    places.push(...tail.next.members, ...(tail.closing?.members ?? []));
  }
  if (tail.phase === 'fencing') places.push(...tail.unsealed.members, { node: tail.taker });
  return new Set([...places.map((p) => p.node), ...attachments.map((a) => a.host)]);
}

/** Whether a node keeps the record: it has a part in the volume, or nobody has one yet. */
export function keepsRecord(volume: Volume, node: NodeName): boolean {
  const nodes = nodesOf(volume);
  return nodes.size === 0 || nodes.has(node);
}
