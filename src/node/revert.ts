import { HyperscaleError } from '../errors.ts';
import { consumersOf } from '../volume/attachments.ts';
import { writerOf } from '../volume/queries.ts';
import { assertRevertible, revertTo } from '../volume/snapshots.ts';
import type { NodeName, SnapshotId, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** The last head has sealed what it wrote when its host has detached; the news of it travel. */
const settleTimeoutMs = 10_000;
const peerTimeoutMs = 10_000;

/**
 * Makes a volume what it was at a snapshot. Where it is attached, nothing may be connected to it: a
 * consumer holds what it has read, and its disk would change beneath it. It is detached for that,
 * reverted, and attached again, under new sessions, so that a consumer that only lost its connection
 * cannot go on with what it knows (rule 15).
 * @throws `in-use` naming who is connected where, `node-down` when a host cannot be asked; then
 *   nothing was done. `unavailable` when it was reverted and could not be attached again.
 */
export async function revert(
  agent: Agent,
  { id }: Volume,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<Volume> {
  const worker = agent.worker(id);
  const { store } = agent.context;
  const before = (await store.readVolume(id))?.value;
  if (before === undefined || before.attachments.length === 0) {
    return worker.change((v) => revertTo(v, snapshot));
  }
  assertRevertible(before, snapshot);
  const hosts = consumersOf(before).map(({ host }) => host);
  await mustBeUnused(agent, before, hosts, signal);
  // The writer last: or another host would open the volume for nothing.
  const writer = writerOf(before);
  const inTurn = [...hosts.filter((h) => h !== writer), ...hosts.filter((h) => h === writer)];
  try {
    for (const host of inTurn) await detachOn(agent, id, host, signal);
    await untilIdle(agent, worker, signal);
    await worker.change((v) => revertTo(v, snapshot));
  } catch (error) {
    await attachAgain(agent, before, hosts, signal).catch(() => undefined);
    throw error;
  }
  try {
    await attachAgain(agent, before, hosts, signal);
  } catch (error) {
    throw new HyperscaleError(
      'unavailable',
      `volume ${before.name} was reverted, but could not be attached again on ${hosts.join(', ')}`,
      {
        hint: `Attach it: hscli volume attach ${before.name} --node ${hosts[0]}`,
        values: { volume: id, hosts },
        cause: error,
      },
    );
  }
  return (await store.readVolume(id))?.value ?? before;
}

async function mustBeUnused(
  agent: Agent,
  volume: Volume,
  hosts: readonly NodeName[],
  signal: AbortSignal,
): Promise<void> {
  const { nodes, peers, self } = agent.context;
  const down = hosts.find((host) => !nodes().some((n) => n.name === host && n.lease !== null));
  if (down !== undefined) {
    throw new HyperscaleError(
      'node-down',
      `volume ${volume.name} is attached on ${down}, which does not say whether it is in use`,
      {
        hint: `Bring ${down} back, or detach it there: hscli volume detach ${volume.name} --node ${down}`,
        values: { volume: volume.id, host: down },
      },
    );
  }
  const counts = await Promise.all(
    hosts.map(async (host) => {
      const connections =
        host === self.node
          ? connectionsHere(agent.worker(volume.id))
          : (
              await peers
                .of(host, { signal, timeoutMs: peerTimeoutMs })
                .connections({ volume: volume.id })
            ).connections;
      return { host, connections };
    }),
  );
  const used = counts.filter(({ connections }) => connections > 0);
  if (used.length === 0) return;
  const where = used.map((u) => `${u.host} (${u.connections})`).join(', ');
  throw new HyperscaleError(
    'in-use',
    `volume ${volume.name} is in use: there are connections to it on ${where}`,
    {
      hint: 'It is reverted when it is attached nowhere, or when nothing is connected where it is: shut the guest off (one that is paused still holds what it has read), remove its block device, or detach it.',
      values: { volume: volume.id, connections: counts },
    },
  );
}

/**
 * Consumers that are connected to this host's attachment. The gateways of other hosts have one
 * connection each to a head here. One that is just being made anew is counted as a consumer less:
 * then that consumer is cut off, as by a detach, and its session is over.
 */
export function connectionsHere({ head, proxy, gateways }: VolumeWorker): number {
  if (head !== null) return Math.max(0, head.connections() - gateways.size);
  return proxy?.handle.connections() ?? 0;
}

async function detachOn(
  agent: Agent,
  id: string,
  host: NodeName,
  signal: AbortSignal,
): Promise<void> {
  const { self, peers } = agent.context;
  if (host === self.node) await agent.detach(id, signal);
  else await peers.of(host, { signal }).detach(id);
}

/** In the order in which they were: the first opens the volume. */
async function attachAgain(
  agent: Agent,
  { id }: Volume,
  hosts: readonly NodeName[],
  signal: AbortSignal,
): Promise<void> {
  for (const host of hosts) {
    if (host === agent.context.self.node) await agent.attach(id, signal);
    else await agent.context.peers.of(host, { signal }).attach(id);
  }
}

async function untilIdle(agent: Agent, worker: VolumeWorker, signal: AbortSignal): Promise<void> {
  await agent.context.store.readVolume(worker.id);
  const late = new AbortController();
  const cancel = agent.context.environment.after(settleTimeoutMs, () => late.abort());
  try {
    // Somebody else may attach it meanwhile: the revert is refused then.
    const settled = () =>
      worker.volume?.tail.phase === 'idle' || (worker.volume?.attachments.length ?? 0) > 0;
    await worker.waitUntil(settled, AbortSignal.any([signal, late.signal]));
  } catch (error) {
    if (signal.aborted) throw error;
    throw new HyperscaleError('conflict', `volume ${worker.volume?.name} is not closed yet`, {
      hint: 'Try again.',
      cause: error,
    });
  } finally {
    cancel();
  }
}
