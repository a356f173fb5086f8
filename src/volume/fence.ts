/**
 * Take-over: ends the epoch of a writer that is gone, by making at least one member of its write
 * set refuse it for good (rule 3). The outcome is an idle volume, which is then opened as usual.
 */
import { HyperscaleError } from '../errors.ts';
import { withoutHosts } from './attachments.ts';
import { refuse } from './refuse.ts';
import { discarded, nextEpoch, sealLayer } from './seal.ts';
import type { BootId, NodeName, PoolId, UnsealedLayer, Volume } from './types.ts';

/** What a fenced member told: its boot, its pool, and whether it really has the layer's file. */
export type Fenced = { node: NodeName; pool: PoolId; boot: BootId; holds: boolean };

/**
 * Records that `taker` ends the current epoch. From here the old writer can confirm nothing.
 * @param revoke hosts whose consumers are dead: their attachments end here (rule 15).
 */
export function beginFencing(volume: Volume, taker: NodeName, revoke: readonly NodeName[]): Volume {
  const { tail } = volume;
  const attachments = withoutHosts(volume.attachments, revoke);
  const fencing = (unsealed: UnsealedLayer): Volume['tail'] => ({
    phase: 'fencing',
    taker,
    epoch: nextEpoch(volume),
    unsealed,
  });
  const begun = { ...volume, attachments, epoch: nextEpoch(volume) };
  switch (tail.phase) {
    case 'open':
      return { ...begun, tail: fencing(tail.layer) };
    case 'fencing':
      return { ...begun, tail: fencing(tail.unsealed) };
    case 'opening':
      if (tail.closing !== null) {
        return {
          ...begun,
          tail: fencing(tail.closing),
          garbage: [...volume.garbage, discarded(tail.next)],
        };
      }
      return refuse(volume, 'take-over', 'nothing was open; the opening can just be abandoned');
    default:
      return refuse(volume, 'take-over', `it is ${tail.phase}`);
  }
}

/**
 * Like `beginFencing`, for a take-over that was decided by what was known of `epoch`.
 * @throws `conflict` when it is over: the next one may be served by a writer that lives.
 */
export function takeOverEpoch(
  volume: Volume,
  taker: NodeName,
  { epoch, revoke }: { epoch: number; revoke: readonly NodeName[] },
): Volume {
  if (volume.epoch !== epoch) refuse(volume, 'take-over', `epoch ${epoch} is over`);
  return beginFencing(volume, taker, revoke);
}

/**
 * Which fenced member's copy decides what the layer holds. A member of the same boot holds every
 * acknowledged write. One that rebooted may have lost what was not on stable storage, so it counts
 * only when every member is proven to have rebooted: writes are acknowledged when stable, hence all
 * of them hold all (rule 6). Undefined when neither is known yet.
 */
export function chooseAuthority(
  layer: UnsealedLayer,
  fenced: readonly Fenced[],
  prefer: NodeName,
): NodeName | undefined {
  const answers = layer.members.map((m) =>
    fenced.find((f) => f.node === m.node && f.pool === m.pool),
  );
  const sameBoot = layer.members.filter((m, i) => {
    const answer = answers[i];
    return answer?.holds === true && answer.boot === m.boot;
  });
  const rebooted = layer.members.filter((m, i) => {
    const answer = answers[i];
    return answer !== undefined && answer.boot !== m.boot;
  });
  const allRebooted = rebooted.length === layer.members.length;
  const eligible =
    sameBoot.length > 0
      ? sameBoot
      : allRebooted
        ? rebooted.filter((m) => fenced.some((f) => f.node === m.node && f.holds))
        : [];
  return (eligible.find((m) => m.node === prefer) ?? eligible[0])?.node;
}

/**
 * Seals the fenced layer with an authority among those that answered.
 * @throws `unavailable` naming the members that are still needed.
 */
export function completeFencing(
  volume: Volume,
  taker: NodeName,
  fenced: readonly Fenced[],
  prefer: NodeName,
): Volume {
  const { tail } = volume;
  if (tail.phase !== 'fencing' || tail.taker !== taker) {
    refuse(volume, 'take-over', `${taker} is not the one taking over`);
  }
  const authority = chooseAuthority(tail.unsealed, fenced, prefer);
  if (authority === undefined) {
    const missing = tail.unsealed.members
      .filter((m) => !fenced.some((f) => f.node === m.node && f.boot === m.boot))
      .map((m) => m.node);
    throw new HyperscaleError(
      'unavailable',
      `volume ${volume.name} cannot be taken over: no member of layer ${tail.unsealed.epoch} that has stayed up since it was opened can be reached`,
      {
        hint: `Bring back one of ${missing.join(', ')}.`,
        values: { volume: volume.id, members: tail.unsealed.members, fenced },
      },
    );
  }
  return {
    ...volume,
    chain: [...volume.chain, sealLayer(tail.unsealed, authority, [])],
    tail: { phase: 'idle' },
  };
}
