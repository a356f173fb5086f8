import { withoutHosts } from './attachments.ts';
import { beginFencing } from './fence.ts';
import { attachmentOn } from './queries.ts';
import { refuse } from './refuse.ts';
import { abandonOpening } from './roll.ts';
import type { Attachment, NodeName, Volume } from './types.ts';

/**
 * A writer whose own disk fails lets another node serve the volume: that one ends the epoch by a
 * take-over. The caller has ended its head for good before (rule 14).
 *
 * Consumers stay where they are. The taker needs an attachment to be a writer; where it has none, it
 * gets one that stands in for the writer's, and that goes when the writer's does.
 *
 * @param taker what its attachment is when it has none in this boot.
 */
export function handOver(volume: Volume, writer: NodeName, taker: Attachment): Volume {
  const { tail } = volume;
  // The first of the live hosts opens what is idle.
  const handed = { ...volume, attachments: takerFirst(volume, writer, taker) };
  if (tail.phase === 'opening' && tail.next.writer === writer && tail.closing === null) {
    return abandonOpening(handed, tail.next.id);
  }
  const layer = tail.phase === 'open' ? tail.layer : tail.phase === 'opening' ? tail.closing : null;
  if (layer?.writer !== writer) refuse(volume, 'hand-over', `${writer} does not write it`);
  if (!layer.members.some((m) => m.node === taker.host && m.boot === taker.boot)) {
    refuse(volume, 'hand-over', `${taker.host} is no member of epoch ${layer.epoch}`);
  }
  const begun = beginFencing(handed, taker.host, []);
  if (begun.tail.phase !== 'fencing') return begun;
  return { ...begun, tail: { ...begun.tail, writerEnded: true } };
}

function takerFirst(volume: Volume, writer: NodeName, taker: Attachment): Attachment[] {
  const mine = attachmentOn(volume, writer);
  // Who stood in itself is not needed any more.
  const leaving = mine?.standInFor === undefined ? [taker.host] : [taker.host, writer];
  const others = withoutHosts(volume.attachments, leaving);
  const known = attachmentOn(volume, taker.host);
  if (known?.boot === taker.boot) return [known, ...others];
  if (mine === undefined) return others;
  return [{ ...taker, standInFor: mine.standInFor ?? writer }, ...others];
}
