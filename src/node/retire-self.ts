/** This node's own pool was taken out of the cluster: nothing of it may serve any more. */
import type { BlockDevices } from '../engine/block-devices.ts';
import type { Engine } from '../engine/engine.ts';
import { type Retirement, retiredPool } from '../store/retirement.ts';
import type { Store } from '../store/store.ts';
import type { Agent } from './agent.ts';
import type { Log } from './context.ts';

/** Rejects with `foreign-pool` when the pool is found to be retired; never resolves. */
export function untilRetired(store: Store, retirement: Retirement, pool: string): Promise<never> {
  return new Promise((_, reject) => {
    const look = () => {
      const mark = retirement.retired().find((r) => r.pool === pool);
      if (mark !== undefined) reject(retiredPool(mark));
    };
    store.onChange((change) => {
      if (change.kind === 'node') look();
    });
    look();
  });
}

/** Ends what serves consumers and peers here, when the daemon has adopted it. */
export async function endServing(agent: Agent): Promise<void> {
  const { engine, log } = agent.context;
  log.error({}, 'the pool of this node was taken out of the cluster: all that it serves is ended');
  agent.stop();
  await agent.devices.killAll();
  await Promise.all(
    agent.workers().map(async (worker) => {
      const { proxy, gateways } = worker;
      await worker.killHead();
      await Promise.all([...gateways.values()].map((gateway) => gateway.kill()));
      await proxy?.handle.kill();
      await engine.removeAttachSocket(worker.id);
    }),
  );
  await engine.replicas.kill();
}

/** The same for a daemon that was refused at its start: what an earlier one left running. */
export async function endLeftovers(
  engine: Engine & { devices: BlockDevices },
  log: Log,
): Promise<void> {
  for (const device of await engine.devices.adopt()) await device.kill();
  const { heads, proxies, gateways } = await engine.adopt();
  log.error(
    { heads: heads.length, proxies: proxies.length },
    'the pool of this node was taken out of the cluster: what was left running is ended',
  );
  await Promise.all([...heads, ...proxies, ...gateways].map((handle) => handle.kill()));
  for (const volume of engine.attachSockets()) await engine.removeAttachSocket(volume);
  await engine.replicas.start();
  await engine.replicas.kill();
}
