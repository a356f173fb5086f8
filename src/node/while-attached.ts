import { HyperscaleError } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { SessionId } from '../volume/types.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** Runs `work` with a signal that aborts when this host's attachment is not that session any more. */
export async function whileAttached<T>(
  worker: VolumeWorker,
  session: SessionId,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { node } = worker.context.self;
  const over = () =>
    worker.volume === undefined || attachmentOn(worker.volume, node)?.session !== session;
  const [ended, done] = [new AbortController(), new AbortController()];
  worker.waitUntil(over, done.signal).then(
    () => ended.abort(new HyperscaleError('conflict', `session ${session} has ended here`)),
    () => undefined, // done before
  );
  try {
    return await work(ended.signal);
  } finally {
    done.abort();
  }
}
