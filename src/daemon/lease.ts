import { setInterval } from 'node:timers';
import type { LayerStore } from '../engine/engine.ts';
import type { Store } from '../store/store.ts';
import type { NodeLease } from '../volume/types.ts';

/** Free space changes all the time and has no event; it is looked at this often. */
const spaceEveryMs = 5_000;
/** Smaller changes of free space are not worth a write to the store. */
const worthTelling = 0.01;

/** Keeps this node's lease, and what it says of the pool's space, up to date. */
export async function keepLeaseCurrent(
  store: Store,
  layers: Pick<LayerStore, 'space'>,
  self: { node: string; pool: string; boot: string; version: string },
): Promise<{ stop(): void }> {
  const { node: name, ...rest } = self;
  let told: NodeLease = { name, ...rest, ...(await layers.space()) };
  const lease = await store.keepLease(told);
  const look = async () => {
    const space = await layers.space();
    const change = Math.abs(space.freeBytes - told.freeBytes);
    if (space.totalBytes === told.totalBytes && change < worthTelling * space.totalBytes) return;
    told = { ...told, ...space };
    await lease.update(told);
  };
  // While the store is away nothing can be told; the next look tells it.
  const timer = setInterval(() => {
    look().catch(() => undefined);
  }, spaceEveryMs);
  return { stop: () => clearInterval(timer) };
}
