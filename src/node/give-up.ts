import { handOver } from '../volume/hand-over.ts';
import type { Member } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

/**
 * This node's own disk fails: another member serves the volume from now on, and consumers here reach
 * it through a proxy. Their requests wait, or fail and are repeated, meanwhile.
 */
export async function giveUpVolume(worker: VolumeWorker, to: Member): Promise<void> {
  const { self, environment, events, engine } = worker.context;
  // Rule 14: nobody may be answered by it any more when another one begins.
  await worker.endHead(0);
  const session = environment.randomId();
  const since = environment.now();
  const handed = await worker.change((v) =>
    handOver(v, self.node, { host: to.node, session, boot: to.boot, since }),
  );
  worker.gaveUp();
  events.emit(
    'volume.handed-over',
    `The disk of ${self.node} fails: ${to.node} serves volume ${handed.name} in its place.`,
    { volume: worker.id, values: { from: self.node, to: to.node } },
  );
  if (!worker.isAttached()) await engine.removeAttachSocket(worker.id);
}
