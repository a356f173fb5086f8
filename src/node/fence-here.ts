import type { FenceAnswer } from '../api/service.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Received requests of an export get this long to finish before the whole server is killed. */
const unexportTimeoutMs = 2_000;

/**
 * Makes this node refuse every epoch of a volume below `epoch`, for good (protocol review, rule 7):
 * the refusal is on disk first; then heads are killed and exports removed, and their requests are
 * over; then the layers are fsynced; only then the answer.
 */
export async function fenceHere(worker: VolumeWorker, epoch: number): Promise<FenceAnswer> {
  const { engine, self } = worker.context;
  return worker.gate.run(async () => {
    await engine.layers.setFence(worker.id, epoch);
    const { head } = worker;
    if (head !== null && head.state.epoch < epoch) {
      worker.setHead(null);
      await head.kill();
    }
    for (const { key, writable } of engine.replicas.exports()) {
      if (key.volume === worker.id && writable && key.epoch < epoch) {
        await engine.replicas.unexport(key.layer, unexportTimeoutMs);
      }
    }
    const held = await engine.layers.list(worker.id);
    for (const key of held) if (key.epoch < epoch) await engine.layers.sync(key);
    return { pool: self.pool, boot: self.boot, layers: held.map((k) => k.layer) };
  });
}
