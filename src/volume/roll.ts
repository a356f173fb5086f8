/**
 * One operation changes the writer or the write set: prepare, act, confirm (protocol review).
 * Prepare names the next layer and its members; the agent then ends the old writer; confirm seals
 * the old layer and opens the next. A head serves nothing before the confirm.
 */
import { assertRoomForLayer } from './bounds.ts';
import { nextSize } from './extend.ts';
import { attachmentOn } from './queries.ts';
import { refuse } from './refuse.ts';
import { discarded, nextEpoch, sealLayer } from './seal.ts';
import type {
  BootId,
  LayerId,
  Member,
  NodeName,
  RollReason,
  UnsealedLayer,
  Volume,
} from './types.ts';

/** `sizeBytes`: what the volume is to grow to with this layer; absent: it stays as large as it is. */
export type NextLayer = {
  id: LayerId;
  members: Member[];
  openedAt?: string;
  sizeBytes?: number;
};

function nextLayer(volume: Volume, writer: NodeName, next: NextLayer): UnsealedLayer {
  if (next.members[0]?.node !== writer) {
    refuse(volume, 'prepare', `the writer ${writer} must be the first member (locality)`);
  }
  return {
    id: next.id,
    epoch: nextEpoch(volume),
    sizeBytes: nextSize(volume, next.sizeBytes),
    writer,
    members: next.members,
    ...(next.openedAt === undefined ? {} : { openedAt: next.openedAt }),
  };
}

/** Begins the first epoch after an idle time, on a host that has an attachment. */
export function prepareOpen(volume: Volume, writer: NodeName, next: NextLayer): Volume {
  const { tail } = volume;
  if (attachmentOn(volume, writer) === undefined) {
    refuse(volume, 'open', `${writer} has no attachment`);
  }
  const mayPrepare =
    tail.phase === 'idle' ||
    (tail.phase === 'opening' && tail.closing === null && tail.next.writer === writer);
  if (!mayPrepare) refuse(volume, 'open', `it is ${tail.phase}`);
  assertRoomForLayer(volume, 'attach');
  return {
    ...volume,
    epoch: nextEpoch(volume),
    tail: {
      phase: 'opening',
      reason: 'attach',
      next: nextLayer(volume, writer, next),
      closing: null,
    },
    garbage: tail.phase === 'opening' ? [...volume.garbage, discarded(tail.next)] : volume.garbage,
  };
}

/**
 * Begins a new epoch on the same writer: with another write set (evict, add), after its head died,
 * or just to seal, or to grow. May also replace a roll that was prepared but not confirmed; a size
 * that it was to bring stays.
 * @throws `unavailable` when the record is full (bounds.ts).
 */
export function prepareRoll(
  volume: Volume,
  writer: NodeName,
  reason: RollReason,
  next: NextLayer,
): Volume {
  const { tail } = volume;
  const closing =
    tail.phase === 'open' ? tail.layer : tail.phase === 'opening' ? tail.closing : null;
  if (closing === null) refuse(volume, `roll (${reason})`, `it is ${tail.phase}`);
  if (closing.writer !== writer) {
    refuse(volume, `roll (${reason})`, `the writer is ${closing.writer}, not ${writer}`);
  }
  assertRoomForLayer(volume, reason);
  return {
    ...volume,
    epoch: nextEpoch(volume),
    tail: { phase: 'opening', reason, next: nextLayer(volume, writer, next), closing },
    garbage: tail.phase === 'opening' ? [...volume.garbage, discarded(tail.next)] : volume.garbage,
  };
}

/**
 * Seals the old layer, if there is one, and opens the next, whose size is the volume's from here on.
 * The caller has ended the old writer and fsynced its own copy, which becomes the authority (rules
 * 10, 12).
 * @param writer.boot the boot in which the caller runs: a member that rebooted since the layer was
 *   opened is never its authority (rule 6).
 * @param clean members that are known to hold the same as the writer.
 */
export function confirmOpen(
  volume: Volume,
  layer: LayerId,
  writer: { node: NodeName; boot: BootId },
  clean: readonly NodeName[],
): Volume {
  const { tail } = volume;
  if (tail.phase !== 'opening') refuse(volume, 'confirm', `it is ${tail.phase}`);
  if (tail.next.id !== layer || tail.next.writer !== writer.node) {
    refuse(volume, 'confirm', `layer ${layer} of ${writer.node} is not the one prepared`);
  }
  assertSameBoot(volume, tail.next, writer);
  if (tail.closing !== null) assertSameBoot(volume, tail.closing, writer);
  return {
    ...volume,
    sizeBytes: tail.next.sizeBytes,
    chain:
      tail.closing === null
        ? volume.chain
        : [...volume.chain, sealLayer(tail.closing, writer.node, clean)],
    tail: { phase: 'open', reason: tail.reason, layer: tail.next },
  };
}

/** The writer's head has ended and nobody on its node uses the volume: nothing is open any more. */
export function close(
  volume: Volume,
  layer: LayerId,
  writer: { node: NodeName; boot: BootId },
  clean: readonly NodeName[],
): Volume {
  const { tail } = volume;
  if (tail.phase !== 'open' || tail.layer.id !== layer || tail.layer.writer !== writer.node) {
    refuse(volume, 'close', `layer ${layer} of ${writer.node} is not open`);
  }
  assertSameBoot(volume, tail.layer, writer);
  return {
    ...volume,
    chain: [...volume.chain, sealLayer(tail.layer, writer.node, clean)],
    tail: { phase: 'idle' },
  };
}

/** Gives up a first epoch that was prepared and never confirmed; nothing was ever served from it. */
export function abandonOpening(volume: Volume, layer: LayerId): Volume {
  const { tail } = volume;
  if (tail.phase !== 'opening' || tail.next.id !== layer || tail.closing !== null) {
    refuse(volume, 'abandon', `layer ${layer} is not a first layer being opened`);
  }
  return {
    ...volume,
    tail: { phase: 'idle' },
    garbage: [...volume.garbage, discarded(tail.next)],
  };
}

function assertSameBoot(
  volume: Volume,
  layer: UnsealedLayer,
  writer: { node: NodeName; boot: BootId },
): void {
  const member = layer.members.find((m) => m.node === writer.node);
  if (member?.boot !== writer.boot) {
    refuse(
      volume,
      'confirm',
      `${writer.node} rebooted since layer ${layer.epoch} was opened and cannot be its authority`,
    );
  }
}
