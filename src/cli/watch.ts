import { setTimeout as delay } from 'node:timers/promises';
import type { VolumeDetailAnswer } from '../api/schemas.ts';
import type { Context } from './context.ts';
import type { StreamItem } from './event-reader.ts';
import { volumeText } from './volume-text.ts';
import { volumeWithSpace } from './with-space.ts';

/** How often progress is read while work goes on; changes themselves come as events. */
const progressMs = 1000;
const clearScreen = '\u001b[H\u001b[2J\u001b[3J';

/**
 * Shows a volume again whenever something happens. Ends only by an error: the volume is gone, the
 * daemon ended, or Ctrl-C.
 */
export async function watchVolume(context: Context, name: string): Promise<never> {
  const { io, client } = context;
  let shown = '';
  const show = async (): Promise<VolumeDetailAnswer> => {
    const volume = await volumeWithSpace(client, name);
    const text = context.json ? `${JSON.stringify(volume)}\n` : volumeText(volume);
    if (text !== shown) {
      shown = text;
      io.stdout.write(io.stdout.isTTY === true && !context.json ? clearScreen + text : `${text}\n`);
    }
    return volume;
  };
  // Followed before the first reading, so that nothing happens unseen between the two. Events of
  // nodes matter too: a node that goes down changes a report without changing the volume.
  const events = await client.events({ after: null, volume: undefined });
  let next = nextOf(events);
  for (;;) {
    const volume = await show();
    const waiting: Promise<unknown>[] = [next];
    const timer = new AbortController();
    if (volume.report.findings.length > 0 || volume.report.work.length > 0) {
      waiting.push(delay(progressMs, null, { signal: timer.signal }).catch(() => null));
    }
    const first = await Promise.race(waiting);
    timer.abort();
    if (first !== null) {
      await next;
      next = nextOf(events);
    }
  }
}

function nextOf(events: AsyncGenerator<StreamItem, never>): Promise<unknown> {
  const next = events.next();
  // It may fail while nobody waits for it yet; whoever waits then gets the failure.
  next.catch(() => undefined);
  return next;
}
