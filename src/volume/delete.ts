import { HyperscaleError } from '../errors.ts';
import { abandonMerge } from './merge.ts';
import { discarded } from './seal.ts';
import type { Garbage, LayerId, NodeName, UnsealedLayer, Volume } from './types.ts';

/**
 * Turns a volume into a tombstone that stays until every holder has deleted its files.
 * @throws `in-use` naming the hosts that have it attached.
 */
export function markDeleted(volume: Volume): Volume {
  if (volume.tail.phase === 'deleting') return volume;
  if (volume.attachments.length > 0) {
    const hosts = volume.attachments.map((a) => a.host).join(', ');
    throw new HyperscaleError('in-use', `volume ${volume.name} is attached on ${hosts}`, {
      hint: `Detach it first: hscli volume detach ${volume.name} --node ${volume.attachments[0]?.host}`,
      values: { volume: volume.id, hosts: volume.attachments.map((a) => a.host) },
    });
  }
  const settled = volume.merge === null ? volume : abandonMerge(volume, volume.merge.into);
  const unsealed: UnsealedLayer[] = [];
  const { tail } = settled;
  if (tail.phase === 'open') unsealed.push(tail.layer);
  if (tail.phase === 'fencing') unsealed.push(tail.unsealed);
  if (tail.phase === 'opening') unsealed.push(tail.next, ...(tail.closing ? [tail.closing] : []));
  const sealed: Garbage[] = settled.chain.map((l) => ({
    layer: l.id,
    epoch: l.epoch,
    afterEpoch: 0,
    holders: l.replicas.map(({ node, pool }) => ({ node, pool })),
  }));
  return {
    ...settled,
    // Above every epoch there was, so that holders refuse them all from here on.
    epoch: settled.epoch + 1,
    chain: [],
    tail: { phase: 'deleting' },
    garbage: [...settled.garbage, ...sealed, ...unsealed.map(discarded)],
  };
}

/** A holder has deleted these files. An entry without holders is gone. */
export function collectGarbage(volume: Volume, node: NodeName, layers: readonly LayerId[]): Volume {
  const garbage = volume.garbage
    .map((g) =>
      layers.includes(g.layer) ? { ...g, holders: g.holders.filter((h) => h.node !== node) } : g,
    )
    .filter((g) => g.holders.length > 0);
  return { ...volume, garbage };
}

/** True when nothing is left of a deleted volume and its record can go. */
export function isGone(volume: Volume): boolean {
  return volume.tail.phase === 'deleting' && volume.garbage.length === 0;
}
