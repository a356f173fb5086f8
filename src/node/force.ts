import type { AgreedLoss, LossReport } from '../api/operator-service.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { acceptLoss, isAccepted } from '../volume/accept-loss.ts';
import { type LossPlan, planLoss, type Reached } from '../volume/accept-loss-plan.ts';
import { describeLoss } from '../volume/accept-loss-text.ts';
import { beginFencing } from '../volume/fence.ts';
import { unsealedLayer } from '../volume/queries.ts';
import type { UnsealedLayer, Volume } from '../volume/types.ts';
import { staleReadsEndMs } from '../watchdog/freshness.ts';
import type { Agent } from './agent.ts';
import { fenceHere } from './fence-here.ts';
import { inspectAll } from './inspect.ts';

/** A node that does not answer within this time cannot be reached. */
const reachTimeoutMs = 3_000;
const fenceTimeoutMs = 5_000;

/** What would be lost if the volume went on now, and what a person has to know before. */
export async function lossOf(agent: Agent, id: string): Promise<LossReport> {
  const volume = await newest(agent, id);
  const plan = planLoss(volume, await reach(agent, volume));
  return { ...plan, ...describeLoss(volume, plan), volume: volume.id, name: volume.name };
}

/**
 * Goes on without what cannot be reached: ends the epoch of a writer that is gone, fences every
 * member that answers, and records the decision.
 * @param agreed what the operator was shown; null agrees to whatever is lost.
 * @throws `conflict` when something else would be lost by now; nothing is given up then.
 */
export async function forceVolume(
  agent: Agent,
  id: string,
  agreed: AgreedLoss | null,
  by: string,
): Promise<Volume> {
  const { self, environment, events, log } = agent.context;
  const worker = agent.worker(id);
  const before = await newest(agent, id);
  const seen = await reach(agent, before);
  assertAgreed(before, planLoss(before, seen), agreed);
  const unsealed = unsealedLayer(before);
  let reached = seen;
  if (unsealed !== null && endsEpoch(planLoss(before, seen), unsealed)) {
    const fencing = await takeIt(agent, id, unsealed);
    reached = await fenceReached(agent, fencing, unsealed, seen);
    // Rule 14: a head that could not be reached answers reads until its watchdog ends it.
    if (!reached.some((r) => r.node === unsealed.writer)) {
      await new Promise<void>((resolve) => environment.after(staleReadsEndMs, resolve));
    }
  }
  const done = await worker.change((v) => {
    const plan = planLoss(v, reached);
    assertAgreed(v, plan, agreed);
    const { lost } = describeLoss(v, plan);
    return acceptLoss(v, plan, { at: environment.now(), by, node: self.node, text: lost });
  });
  const loss = done.losses?.at(-1);
  const text = `Volume ${done.name}: ${by} decided on ${self.node} to go on without data. ${loss?.text.join(' ')}`;
  log.warn({ volume: id, loss }, 'data was given up');
  events.emit('volume.loss-accepted', text, { volume: id, values: { loss } });
  agent.kickAll();
  return done;
}

async function newest(agent: Agent, id: string): Promise<Volume> {
  const record = await agent.context.store.readVolume(id);
  if (record !== undefined) return record.value;
  throw new HyperscaleError('not-found', `volume ${id} does not exist any more`);
}

function endsEpoch({ believed, dropped }: LossPlan, layer: UnsealedLayer): boolean {
  return [...believed, ...dropped].some((l) => l.layer === layer.id);
}

function assertAgreed(volume: Volume, plan: LossPlan, agreed: AgreedLoss | null): void {
  if (agreed === null || isAccepted(plan, agreed)) return;
  throw new HyperscaleError(
    'conflict',
    `something else of volume ${volume.name} would be lost by now than what was agreed to`,
    {
      hint: `Look again: hscli volume force ${volume.name}`,
      values: { volume: volume.id, believed: plan.believed, dropped: plan.dropped },
    },
  );
}

/**
 * Asks every node that has a part in the volume, also those whose lease is gone: a better copy may
 * be reachable all the same.
 * @throws `node-down` for one whose lease lives and that does not answer: it may be serving.
 */
async function reach(agent: Agent, volume: Volume): Promise<Reached[]> {
  const { context } = agent;
  const unsealed = unsealedLayer(volume);
  const places = [...volume.chain.flatMap((l) => l.replicas), ...(unsealed?.members ?? [])];
  const registered = new Set(context.nodes().map((n) => n.name));
  const nodes = [...new Set(places.map((p) => p.node))].filter((n) => registered.has(n));
  const { inspections, silent } = await inspectAll(agent, nodes, {
    volume: volume.id,
    timeoutMs: reachTimeoutMs,
  });
  for (const { node, why } of silent) {
    if (context.nodes().find((n) => n.name === node)?.lease == null) continue;
    throw new HyperscaleError('node-down', `${node} is up but does not answer: ${why}`, {
      hint: `Wait until its lease has run out (5 s), or see to ${node}.`,
      values: { node },
    });
  }
  return inspections.map(({ node, pool, boot, layers }) => ({
    node,
    pool,
    boot,
    layers: layers
      .filter((l) => l.volume === volume.id)
      .map(({ layer, writtenAt }) => ({ layer, writtenAt })),
  }));
}

type Fencing = { volume: Volume; epoch: number };

/** From here on the old writer can confirm nothing. */
async function takeIt(agent: Agent, id: string, unsealed: UnsealedLayer): Promise<Fencing> {
  const { self, store } = agent.context;
  const [writer] = unsealed.members;
  // Past the cache, which may have the lease of a boot before that of the record.
  const lease = await store.readLease(unsealed.writer);
  const rebooted = lease !== null && lease.boot !== writer?.boot;
  const volume = await agent.worker(id).change(
    (v) => {
      if (unsealedLayer(v)?.id !== unsealed.id) {
        throw new HyperscaleError('conflict', `volume ${v.name} goes on by itself`, {
          hint: `hscli volume show ${v.name}`,
        });
      }
      return v.tail.phase === 'fencing' && v.tail.taker === self.node
        ? v
        : beginFencing(v, self.node, []);
    },
    rebooted ? {} : { leaseGone: unsealed.writer },
  );
  return { volume, epoch: volume.epoch };
}

/** Fences all members that were reached, and says again what they hold. */
async function fenceReached(
  agent: Agent,
  { volume, epoch }: Fencing,
  unsealed: UnsealedLayer,
  seen: readonly Reached[],
): Promise<Reached[]> {
  const { self, peers } = agent.context;
  const isMember = (node: string) => unsealed.members.some((m) => m.node === node);
  const fenceOne = async (reached: Reached): Promise<Reached> => {
    if (!isMember(reached.node)) return reached;
    try {
      const answer =
        reached.node === self.node
          ? await fenceHere(agent.worker(volume.id), epoch)
          : await peers
              .of(reached.node, { timeoutMs: fenceTimeoutMs })
              .fence({ volume: volume.id, epoch });
      const { pool, boot } = answer;
      const layers = reached.layers.filter((l) => answer.layers.includes(l.layer));
      return { node: reached.node, pool, boot, layers };
    } catch (error) {
      throw new HyperscaleError(
        'unavailable',
        `${reached.node} was there and does not answer any more: ${errorText(error)}`,
        { hint: 'Nothing was given up. Look again.', cause: error },
      );
    }
  };
  return Promise.all(seen.map(fenceOne));
}
