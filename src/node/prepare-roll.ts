import { placeMembers } from '../volume/placement.ts';
import { prepareOpen, prepareRoll } from '../volume/roll.ts';
import type { RollReason } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Prepares the next epoch on this node: `null` for the first one after an idle time. */
export async function prepare(worker: VolumeWorker, reason: RollReason | null): Promise<void> {
  const { self, environment } = worker.context;
  await worker.change((volume) => {
    const unready = new Set([...worker.failed(), ...worker.avoided()]);
    const members = placeMembers(volume, self.node, worker.context.nodes(), unready);
    const next = { id: environment.randomId(), members };
    return reason === null
      ? prepareOpen(volume, self.node, next)
      : prepareRoll(volume, self.node, reason, next);
  });
}
