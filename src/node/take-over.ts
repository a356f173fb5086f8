import type { FenceAnswer } from '../api/service.ts';
import { errorText } from '../errors.ts';
import { leaseSeconds } from '../store/store.ts';
import { chooseAuthority, completeFencing, type Fenced } from '../volume/fence.ts';
import type { Volume } from '../volume/types.ts';
import { fenceHere } from './fence-here.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** A member that has not answered by then is left out of this attempt. */
const fenceTimeoutMs = 3_000;
/** Once enough members answered, the others get this much longer. */
const stragglerMs = 200;
/**
 * A head that was not fenced on its own node may serve reads until its node's lease has run out
 * there (rule 14); a take-over that did not see the lease gone waits for that and a margin.
 */
const readFenceMs = leaseSeconds * 1_000 + 1_000;

/** Fences the members of the layer that the gone writer may have been writing, and seals it. */
export async function completeTakeOver(worker: VolumeWorker): Promise<void> {
  const { context, volume } = worker;
  const { self, environment, events } = context;
  const tail = volume?.tail;
  if (volume === undefined || tail?.phase !== 'fencing') return;
  const begun = environment.monotonic();
  const fenced = await fenceMembers(worker, volume, tail);
  if (!tail.writerLeaseGone && !fenced.some((f) => f.node === tail.unsealed.writer)) {
    const left = begun + readFenceMs - environment.monotonic();
    if (left > 0) await new Promise<void>((resolve) => environment.after(left, resolve));
  }
  const done = await worker.change((v) => completeFencing(v, self.node, fenced, self.node));
  const sealed = done.chain.at(-1);
  events.emit(
    'volume.taken-over',
    `Volume ${volume.name}: epoch ${tail.unsealed.epoch} of ${tail.unsealed.writer} is fenced on ${fenced.map((f) => f.node).join(', ')}; ${sealed?.authority ?? 'nobody'} decides what it holds.`,
    { volume: worker.id },
  );
}

type Fencing = Extract<Volume['tail'], { phase: 'fencing' }>;

/** Asks all members; resolves when all answered, or shortly after enough of them did. */
async function fenceMembers(
  worker: VolumeWorker,
  volume: Volume,
  tail: Fencing,
): Promise<Fenced[]> {
  const { context } = worker;
  const answers: Fenced[] = [];
  const layer = tail.unsealed;
  const tasks = layer.members.map(async ({ node }) => {
    try {
      const answer: FenceAnswer =
        node === context.self.node
          ? await fenceHere(worker, tail.epoch)
          : await context.peers
              .of(node, { timeoutMs: fenceTimeoutMs })
              .fence({ volume: volume.id, epoch: tail.epoch });
      const { pool, boot } = answer;
      answers.push({ node, pool, boot, holds: answer.layers.includes(layer.id) });
    } catch (error) {
      context.log.info({ volume: volume.id, node, error: errorText(error) }, 'fence not answered');
    }
  });
  let enough = () => {};
  const sufficient = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const watched = tasks.map((task) =>
    task.then(() => {
      if (chooseAuthority(layer, answers, context.self.node) !== undefined) {
        context.environment.after(stragglerMs, enough);
      }
    }),
  );
  await Promise.race([Promise.all(watched), sufficient]);
  return [...answers];
}
