import { HyperscaleError } from '../errors.ts';
import { importedEpoch } from './import.ts';
import { clonesOf, sharedUpTo, snapshotsOf, withMarks } from './marks.ts';
import { abandonMerge } from './merge.ts';
import { discarded, removed } from './seal.ts';
import type { LayerId, NodeName, UnsealedLayer, Volume } from './types.ts';

/**
 * Turns a volume into a tombstone that stays until every holder has deleted its files. Of one that
 * clones go on from, what they see stays as a base without a name.
 * @throws `in-use` naming the hosts that have it attached, or when it has snapshots; of a base, as
 *   long as clones need it.
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
  const snapshots = snapshotsOf(volume);
  if (snapshots.length > 0) {
    throw new HyperscaleError('in-use', `volume ${volume.name} has ${snapshots.length} snapshots`, {
      hint: `Delete them first (hscli snapshot list ${volume.name}), or all with it: hscli volume delete ${volume.name} --snapshots`,
      values: { volume: volume.id, snapshots: snapshots.map((s) => s.id) },
    });
  }
  if (volume.role === 'base' && clonesOf(volume).length > 0) {
    const clones = clonesOf(volume).map((c) => c.volume);
    throw new HyperscaleError(
      'in-use',
      `${volume.id} is what is left of a deleted volume, ${volume.name}, and ${clones.length} clones need it`,
      {
        hint: 'It goes by itself when the last of them is deleted.',
        values: { volume: volume.id, clones },
      },
    );
  }
  const settled = volume.merge === null ? volume : abandonMerge(volume, volume.merge.into);
  const { tail } = settled;
  const unsealed: UnsealedLayer[] = [];
  if (tail.phase === 'open') unsealed.push(tail.layer);
  if (tail.phase === 'fencing') unsealed.push(tail.unsealed);
  if (tail.phase === 'opening') unsealed.push(tail.next, ...(tail.closing ? [tail.closing] : []));
  const kept = sharedUpTo(settled) + 1;
  const sealed = settled.chain.slice(kept).map((l) => removed(l, 0));
  const deleted: Volume = {
    ...settled,
    // Above every epoch there was, so that holders refuse them all from here on.
    epoch: settled.epoch + 1,
    chain: settled.chain.slice(0, kept),
    garbage: [...settled.garbage, ...sealed, ...unsealed.map(discarded)],
    tail: kept === 0 ? { phase: 'deleting' } : { phase: 'idle' },
  };
  const bare = withMarks(deleted, { loose: [], episodes: [] });
  const { flatten: _, episodePlan: __, importing, ...marked } = bare;
  if (importing !== undefined) {
    const { layer, node, pool } = importing;
    const holders = [{ node, pool }];
    marked.garbage = [...marked.garbage, { layer, epoch: importedEpoch, afterEpoch: 0, holders }];
  }
  return kept === 0 ? marked : { ...marked, role: 'base' };
}

/** True when nobody can ask for it by its name any more: it may be another record's. */
export function isNameless(volume: Volume): boolean {
  return volume.tail.phase === 'deleting' || volume.role === 'base';
}

/** True for what clones needed and none does any more. */
export function isUnneededBase(volume: Volume): boolean {
  return volume.role === 'base' && volume.tail.phase === 'idle' && clonesOf(volume).length === 0;
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
