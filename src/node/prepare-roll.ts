import { placeMembers } from '../volume/placement.ts';
import { unsealedLayer } from '../volume/queries.ts';
import { prepareOpen, prepareRoll } from '../volume/roll.ts';
import type { Member, RollReason, Volume } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Rolls that are in vain when nobody comes in. */
const forMembers: ReadonlySet<RollReason> = new Set(['add-member', 'drain', 'spread']);

/**
 * Prepares the next epoch on this node: `null` for the first one after an idle time. Nodes that are
 * new to the write set are asked first whether they answer; an epoch is not begun in vain.
 * @param sizeBytes what the volume is to grow to.
 */
export async function prepare(
  worker: VolumeWorker,
  reason: RollReason | null,
  sizeBytes?: number,
): Promise<void> {
  const { self, environment } = worker.context;
  const { volume } = worker;
  if (volume === undefined) return;
  await avoidSilent(worker, volume);
  if (reason !== null && forMembers.has(reason)) {
    if (newMembers(volume, place(worker, volume)).length === 0) return;
  }
  await worker.change((v) => {
    const next = {
      id: environment.randomId(),
      members: place(worker, v),
      openedAt: environment.now(),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    return reason === null
      ? prepareOpen(v, self.node, next)
      : prepareRoll(v, self.node, reason, next);
  });
}

function place(worker: VolumeWorker, volume: Volume): Member[] {
  const unready = new Set([...worker.failed(), ...worker.avoided()]);
  return placeMembers(volume, worker.context.self.node, worker.context.nodes(), unready);
}

function newMembers(volume: Volume, members: readonly Member[]): Member[] {
  const current = unsealedLayer(volume)?.members ?? [];
  return members.filter((m) => !current.some((c) => c.node === m.node && c.boot === m.boot));
}

/** Asks the nodes that would be new, and those that come in for them, until all of them answer. */
async function avoidSilent(worker: VolumeWorker, volume: Volume): Promise<void> {
  const { health, self } = worker.context;
  const answered = new Set([self.node]);
  for (;;) {
    const asked = newMembers(volume, place(worker, volume)).filter((m) => !answered.has(m.node));
    if (asked.length === 0) return;
    const answers = await Promise.all(asked.map((m) => health.probe(m.node)));
    asked.forEach(({ node }, i) => {
      if (answers[i] === true) answered.add(node);
      else worker.avoid(node);
    });
  }
}
