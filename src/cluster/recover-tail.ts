/**
 * What became of the epoch that was open or being opened in the newest record that was found, from
 * the facts in the pools. Pure. A record may be a step behind what was done: the confirm of an epoch
 * is not kept before its head serves, and a take-over is known to whoever fenced.
 */
import { discarded, sealLayer } from '../volume/seal.ts';
import type { Member, NodeName, Tail, UnsealedLayer, Volume } from '../volume/types.ts';
import { answers } from './recover-missing.ts';
import type { NodeKnowledge, VolumePlan } from './recover-types.ts';

export type TailOutcome = {
  volume: Volume;
  notes: string[];
  losses: string[];
  exact: boolean;
  fence: VolumePlan['fence'];
};

/** The record with its tail as it must be by now. */
export function settleTail(volume: Volume, nodes: readonly NodeKnowledge[]): TailOutcome {
  const highestFence = Math.max(0, ...nodes.map((n) => n.fences.get(volume.id) ?? 0));
  const above = { ...volume, epoch: Math.max(volume.epoch, highestFence) };
  const as = (changed: Volume, more: Partial<TailOutcome> = {}): TailOutcome => ({
    volume: changed,
    notes: [],
    losses: [],
    exact: true,
    fence: null,
    ...more,
  });
  const { tail } = above;
  switch (tail.phase) {
    case 'idle':
    case 'deleting':
    case 'fencing':
      return as(above);
    case 'open': {
      if (!isFenced(above, tail.layer, nodes)) return as(above);
      return as(fencing(above, tail.layer, nodes), {
        exact: false,
        notes: [`a take-over of epoch ${tail.layer.epoch} had begun; it is carried on`],
      });
    }
    case 'opening':
      return settleOpening(above, tail, nodes, as);
  }
}

type Opening = Extract<Tail, { phase: 'opening' }>;

function settleOpening(
  volume: Volume,
  tail: Opening,
  nodes: readonly NodeKnowledge[],
  as: (changed: Volume, more?: Partial<TailOutcome>) => TailOutcome,
): TailOutcome {
  const { next, closing } = tail;
  const writer = nodes.find((n) => isSame(next.members[0], n));
  if (writer !== undefined) {
    const served = writer.burnt.has(next.id);
    const fenced = [next, closing].some((l) => l !== null && isFenced(volume, l, nodes));
    if (served) {
      const opened = confirmed(volume, tail, next.writer);
      const text = `epoch ${next.epoch} is served on ${next.writer}; other copies of the layer before it are compared first`;
      const begun = fenced ? fencing(opened, next, nodes) : opened;
      return as(begun, {
        exact: closing === null && !fenced,
        notes: closing === null ? [] : [text],
      });
    }
    if (!fenced) return as(volume);
    // Never served: what it would have replaced is taken over.
    const notes = [`epoch ${next.epoch} was given up for a take-over; it is carried on`];
    if (closing === null) {
      const garbage = [...volume.garbage, discarded(next)];
      return as({ ...volume, tail: { phase: 'idle' }, garbage }, { exact: false, notes });
    }
    const given = { ...volume, garbage: [...volume.garbage, discarded(next)] };
    return as(fencing(given, closing, nodes), { exact: false, notes });
  }
  return perhapsServed(volume, tail, nodes, as);
}

/**
 * The writer cannot be asked, or has rebooted: its head may have served the new epoch. Every write
 * that was acknowledged in it is on all its members, so it is taken over rather than given up, and
 * the layer before it is sealed with a copy that answers.
 */
function perhapsServed(
  volume: Volume,
  tail: Opening,
  nodes: readonly NodeKnowledge[],
  as: (changed: Volume, more?: Partial<TailOutcome>) => TailOutcome,
): TailOutcome {
  const { next, closing } = tail;
  const begun = fencing({ ...volume, tail: { phase: 'idle' } }, next, nodes);
  const notes = [
    `epoch ${next.epoch} may have been served on ${next.writer}; it is ended as after the death of its writer`,
  ];
  if (closing === null) return as(begun, { exact: false, notes });
  const holding = closing.members.filter((m) => holds(nodes, m, closing.id));
  const authority = best(holding, nodes, next);
  if (authority === undefined) {
    // Never left out: what was written above it means nothing without it.
    const awaited = closing.members.find((m) => !answers(nodes, m))?.node ?? closing.writer;
    return as(
      { ...begun, chain: [...volume.chain, sealLayer(closing, awaited, [])] },
      {
        exact: false,
        notes,
        losses: [`no copy of the layer of epoch ${closing.epoch} answers: it waits for ${awaited}`],
      },
    );
  }
  const sealed = sealLayer(closing, authority, []);
  return as(
    { ...begun, chain: [...volume.chain, sealed] },
    {
      exact: false,
      notes: [
        ...notes,
        `${authority} decides what the layer of epoch ${closing.epoch} holds; other copies are compared with it`,
      ],
      fence: {
        // Its old head may still run: nothing may be written to what is sealed here.
        nodes: holding.map((m) => m.node),
        epoch: next.epoch,
      },
    },
  );
}

function confirmed(volume: Volume, { next, closing, reason }: Opening, writer: NodeName): Volume {
  const chain = closing === null ? volume.chain : [...volume.chain, sealLayer(closing, writer, [])];
  const { sizeBytes } = next;
  return { ...volume, sizeBytes, chain, tail: { phase: 'open', reason, layer: next } };
}

function fencing(volume: Volume, unsealed: UnsealedLayer, nodes: readonly NodeKnowledge[]): Volume {
  const taker = unsealed.members.find((m) => answers(nodes, m))?.node ?? unsealed.writer;
  const epoch = volume.epoch + 1;
  // It may have been served, and the volume have grown with it.
  const { sizeBytes } = unsealed;
  return { ...volume, sizeBytes, epoch, tail: { phase: 'fencing', taker, epoch, unsealed } };
}

/** A member refuses the layer's epoch for good. */
function isFenced(volume: Volume, layer: UnsealedLayer, nodes: readonly NodeKnowledge[]): boolean {
  return layer.members.some((m) => {
    const node = nodes.find((n) => n.name === m.node && n.pool === m.pool);
    return (node?.fences.get(volume.id) ?? 0) > layer.epoch;
  });
}

function isSame(member: Member | undefined, node: NodeKnowledge): boolean {
  return member?.node === node.name && member.pool === node.pool && member.boot === node.boot;
}

function holds(nodes: readonly NodeKnowledge[], place: Member, layer: string): boolean {
  const node = nodes.find((n) => n.name === place.node && n.pool === place.pool);
  return node?.layers.has(layer) === true;
}

/** A copy of a node that has not rebooted goes first, then one that has the next layer too. */
function best(
  holding: readonly Member[],
  nodes: readonly NodeKnowledge[],
  next: UnsealedLayer,
): NodeName | undefined {
  const rank = (m: Member) =>
    Number(nodes.some((n) => isSame(m, n))) * 2 +
    Number(next.members.some((other) => other.node === m.node));
  return [...holding].sort((a, b) => rank(b) - rank(a))[0]?.node;
}
