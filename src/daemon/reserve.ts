import { setInterval } from 'node:timers';
import type { PoolLayerStore } from '../engine/layer-store.ts';
import { errorText } from '../errors.ts';
import type { Log } from '../node/context.ts';

/** What was used of it comes back when there is space again; that has no event. */
const everyMs = 5_000;

/** Makes the pool's reserve, and makes it whole again. */
export function keepReserve(layers: PoolLayerStore, log: Log): { stop(): void } {
  let busy = false;
  const look = async () => {
    if (busy) return;
    busy = true;
    try {
      await layers.reserve.fill(await layers.space());
    } catch (error) {
      log.warn({ error: errorText(error) }, 'the reserve of the pool cannot be made');
    } finally {
      busy = false;
    }
  };
  const run = () => {
    look().catch(() => undefined);
  };
  run();
  const timer = setInterval(run, everyMs);
  return { stop: () => clearInterval(timer) };
}
