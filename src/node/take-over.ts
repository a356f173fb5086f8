import type { FenceAnswer } from '../api/service.ts';
import { errorText } from '../errors.ts';
import { chooseAuthority, completeFencing, type Fenced } from '../volume/fence.ts';
import type { Volume } from '../volume/types.ts';
import { staleReadsEndMs } from '../watchdog/freshness.ts';
import { fenceHere } from './fence-here.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** A member that has not answered by then is left out of this attempt. */
const fenceTimeoutMs = 3_000;
/** Once enough members answered, the others get this much longer. */
const stragglerMs = 200;

/** Fences the members of the layer that the gone writer may have been writing, and seals it. */
export async function completeTakeOver(worker: VolumeWorker): Promise<void> {
  const { context, volume } = worker;
  const { self, environment, events } = context;
  const tail = volume?.tail;
  if (volume === undefined || tail?.phase !== 'fencing') return;
  const fenced = await fenceMembers(worker, volume, tail);
  // Rule 14: an old head that could not be reached may answer reads until its watchdog ends it.
  if (tail.writerEnded === true) worker.avoidFailing(tail.unsealed.writer);
  else if (!writerIsGone(worker, tail.unsealed.writer, fenced)) {
    await new Promise<void>((resolve) => environment.after(staleReadsEndMs, resolve));
  }
  const done = await worker.change((v) => completeFencing(v, self.node, fenced, self.node));
  const sealed = done.chain.at(-1);
  events.emit(
    'volume.taken-over',
    `Volume ${volume.name}: epoch ${tail.unsealed.epoch} of ${tail.unsealed.writer} is fenced on ${fenced.map((f) => f.node).join(', ')}; ${sealed?.authority ?? 'nobody'} decides what it holds.`,
    { volume: worker.id },
  );
}

/** Its node answered the fence, and so killed it, or is up in another boot. */
function writerIsGone(worker: VolumeWorker, writer: string, fenced: readonly Fenced[]): boolean {
  const { self, nodes } = worker.context;
  if (writer === self.node || fenced.some((f) => f.node === writer)) return true;
  const tail = worker.volume?.tail;
  const member =
    tail?.phase === 'fencing' ? tail.unsealed.members.find((m) => m.node === writer) : undefined;
  const lease = nodes().find((n) => n.name === writer)?.lease;
  return lease != null && member !== undefined && lease.boot !== member.boot;
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
